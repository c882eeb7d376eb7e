import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP line to a server that takes its time: every byte arrives so much later, in both directions. */
export class FarLine implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** The most connections with something to carry to the server that there were at once. */
  mostBusy = 0;
  /** The most connections that were open at once and had brought more than small answers from the server. */
  mostFetching = 0;

  private constructor(target: URL, delayMs: number) {
    const busy = new Set<Socket>();
    const fetching = new Set<Socket>();
    this.#server = createServer((near) => {
      const far = connect(Number(target.port), target.hostname);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          busy.delete(near);
          fetching.delete(near);
          setTimeout(() => {
            near.destroy();
            far.destroy();
          }, delayMs);
          this.#sockets.delete(socket);
        });
      }
      delay(near, far, delayMs);
      delay(far, near, delayMs);
      near.on('data', (bytes: Buffer) => {
        if (bytes.length < 16_384) return;
        busy.add(near);
        this.mostBusy = Math.max(this.mostBusy, busy.size);
      });
      let brought = 0;
      far.on('data', ({ length }: Buffer) => {
        busy.delete(near);
        brought += length;
        if (brought < 65_536 || near.destroyed) return;
        fetching.add(near);
        this.mostFetching = Math.max(this.mostFetching, fetching.size);
      });
    });
  }

  /** @param delayMs one way. */
  static async to(server: string, delayMs: number): Promise<FarLine> {
    const line = new FarLine(new URL(server), delayMs);
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function delay(from: Socket, to: Socket, delayMs: number): void {
  from.on('data', (bytes: Buffer) => {
    from.pause();
    setTimeout(() => {
      to.write(bytes);
    }, delayMs);
    // A window's worth is on its way at a time.
    setImmediate(() => from.resume());
  });
  from.on('end', () => setTimeout(() => to.end(), delayMs));
}
