import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP line to a server on which large bodies can be held up after their first bytes. */
export class SlowLine implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stalled = Promise.withResolvers<void>();
  readonly #paused: Socket[] = [];
  #holding = false;
  #afterBytes = 0;
  #passed = 0;

  private constructor(target: URL) {
    this.#server = createServer((near) => {
      const far = connect(Number(target.port), target.hostname);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          near.destroy();
          far.destroy();
          this.#sockets.delete(socket);
        });
      }
      far.pipe(near);
      let passed = 0;
      near.on('data', (bytes) => {
        passed += bytes.length;
        this.#passed += bytes.length;
        far.write(bytes);
        // Commands and small answers pass; a dataset does not.
        if (this.#holding && passed > this.#afterBytes) {
          near.pause();
          this.#paused.push(near);
          this.#stalled.resolve();
        }
      });
    });
  }

  static async to(server: string): Promise<SlowLine> {
    const line = new SlowLine(new URL(server));
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** Bytes that went to the server, over all connections. */
  get passed(): number {
    return this.#passed;
  }

  /** Resolves when a body is held up. */
  get stalled(): Promise<void> {
    return this.#stalled.promise;
  }

  /** Holds up each connection on which more has passed. */
  hold(afterBytes = 200_000): void {
    this.#holding = true;
    this.#afterBytes = afterBytes;
  }

  release(): void {
    this.#holding = false;
    for (const socket of this.#paused) socket.resume();
  }

  /** Ends every connection. One that is held up does not hear that the other side is gone. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
