import { connect, type Socket } from 'node:net';

/**
 * A load generator: keep-alive clients over bare sockets, each asking for the next as soon as it has the last. Run as a
 * program of its own, it takes a {@link Load} in JSON as its argument and prints {@link LoadFigures} in JSON.
 */
export interface Load {
  readonly host: string;
  readonly port: number;
  readonly method: 'GET' | 'HEAD';
  /** Paths that are asked for in turn. */
  readonly paths: readonly string[];
  /** Length of the ranges that are asked for, from places all over `rangeOf` bytes. Without it, whole bodies are. */
  readonly range?: { readonly bytes: number; readonly of: number };
  /** What each body must have. */
  readonly bytes: number;
  readonly clients: number;
  /** How long to ask before it counts, and then how long it counts. */
  readonly warmUpMs: number;
  readonly ms: number;
}

/** What the clients saw while it counted. */
export interface LoadFigures {
  readonly requestsPerSecond: number;
  readonly medianMs: number;
  /** 99th percentile. */
  readonly p99Ms: number;
  readonly count: number;
}

const HEAD_END = Buffer.from('\r\n\r\n');

class Client {
  readonly done: Promise<void>;
  readonly #load: Load;
  readonly #socket: Socket;
  readonly #note: (ms: number, atMs: number) => void;
  readonly #index: number;
  #turn = 0;
  #askedAt = 0;
  /** What of a head has come; a body only counts. */
  #head: Buffer = Buffer.alloc(0);
  #left = -1;
  #isOver = false;

  constructor(load: Load, index: number, note: (ms: number, atMs: number) => void) {
    this.#load = load;
    this.#index = index;
    this.#note = note;
    const buffer = Buffer.allocUnsafe(64 * 1024);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.done = promise;
    const socket = connect({
      host: load.host,
      port: load.port,
      onread: {
        buffer,
        callback: (length) => {
          try {
            this.#take(buffer.subarray(0, length));
          } catch (error) {
            socket.destroy(error as Error);
          }
          return true;
        },
      },
    });
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.once('connect', () => this.#ask());
    socket.once('error', reject);
    socket.once('close', () => {
      if (this.#isOver) resolve();
      else reject(new Error('the server closed a connection'));
    });
  }

  /** Asks for nothing more. @returns how long it has waited for what it asked for last, in ms. */
  stop(): number {
    this.#isOver = true;
    this.#socket.destroy();
    return performance.now() - this.#askedAt;
  }

  #ask(): void {
    const { host, port, method, paths, range } = this.#load;
    const turn = this.#turn++ * this.#load.clients + this.#index;
    let field = '';
    if (range !== undefined) {
      // A step without a common divisor with the size comes by all of the file, out of order.
      const start = (turn * 7_919 * range.bytes) % (range.of - range.bytes);
      field = `Range: bytes=${start}-${start + range.bytes - 1}\r\n`;
    }
    this.#askedAt = performance.now();
    this.#socket.write(`${method} ${paths[turn % paths.length]} HTTP/1.1\r\nHost: ${host}:${port}\r\n${field}\r\n`);
  }

  #take(piece: Buffer): void {
    let rest = piece;
    if (this.#left < 0) {
      this.#head = this.#head.length === 0 ? piece : Buffer.concat([this.#head, piece]);
      const end = this.#head.indexOf(HEAD_END);
      if (end < 0) {
        // The buffer of the socket is written over by the next read.
        this.#head = Buffer.from(this.#head);
        return;
      }
      this.#left = this.#readLength(this.#head.toString('latin1', 0, end + 2));
      rest = this.#head.subarray(end + HEAD_END.length);
      this.#head = Buffer.alloc(0);
    }
    this.#left -= rest.length;
    if (this.#left < 0) throw new Error('a body is longer than its length');
    if (this.#left > 0) return;
    this.#left = -1;
    const now = performance.now();
    this.#note(now - this.#askedAt, now);
    if (!this.#isOver) this.#ask();
  }

  #readLength(head: string): number {
    const { method, bytes, range } = this.#load;
    const status = head.slice(9, 12);
    if (status !== (range === undefined ? '200' : '206')) throw new Error(`the server answered ${head}`);
    const length = Number(/\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1]);
    if (length !== bytes) throw new Error(`a body of ${length} bytes in place of ${bytes}: ${head}`);
    return method === 'HEAD' ? 0 : length;
  }
}

async function run(load: Load): Promise<LoadFigures> {
  const begun = performance.now();
  const from = begun + load.warmUpMs;
  const until = from + load.ms;
  const times: number[] = [];
  const clients = Array.from(
    { length: load.clients },
    (_, index) => new Client(load, index, (ms, atMs) => void (atMs >= from && atMs <= until && times.push(ms))),
  );
  let waiting: number[] = [];
  const timer = setTimeout(() => {
    waiting = clients.map((client) => client.stop());
  }, load.warmUpMs + load.ms);
  await Promise.all(clients.map(({ done }) => done));
  clearTimeout(timer);
  // An answer that never came would else be the one that nobody counts.
  const longest = times.reduce((most, ms) => Math.max(most, ms), 0);
  const sorted = Float64Array.from([...times, ...waiting.filter((ms) => ms > longest)]).toSorted();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? load.ms;
  return {
    requestsPerSecond: (times.length / load.ms) * 1000,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    count: times.length,
  };
}

process.stdout.write(`${JSON.stringify(await run(JSON.parse(process.argv[2] ?? '') as Load))}\n`);
