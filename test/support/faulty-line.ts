import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { resetConnection } from '../../src/http/connection.ts';

/** What a connection carries, by the request that it was opened for: the link of a connector, or anything else. */
export type Traffic = 'link' | 'data';

/** `up` from who connects to who listens, `down` back. */
export type Direction = 'up' | 'down';

/**
 * What goes wrong with a connection.
 *
 * - `rst`, `fin`: both ends get it.
 * - `cut`: not a byte more than were asked for passes; the reader gets a FIN, the writer an RST.
 * - `black-hole`: nothing passes any more, in either direction, and nobody is told, not even of an end.
 * - `trickle`: a byte a second.
 * - `flip`: one bit of one byte is another.
 * - `duplicate`: a whole request comes twice; the second answer goes nowhere.
 */
export type LineFaultKind = 'rst' | 'fin' | 'cut' | 'black-hole' | 'trickle' | 'flip' | 'duplicate';

export interface LineFault {
  readonly kind: LineFaultKind;
  readonly traffic: Traffic;
  readonly direction: Direction;
  /** It begins once so many bytes of this traffic have passed in this direction, on whatever connections, since it was armed. */
  readonly afterBytes: number;
  /** How long every other connection of the line has the same fault, and new ones as well, in ms; 0 for this connection alone. */
  readonly outageMs: number;
  /** How long a trickle lasts, in ms; undefined for as long as the connection. */
  readonly trickleMs?: number | undefined;
}

const REQUEST_LINE = /^(?:GET|HEAD|POST|PUT|DELETE) (\S+) HTTP\/1\.[01]\r\n/;
const LINK_PATH = /\/connectors\/[^/]+\/(?:socket|events)(?:\?|$)/;
const TRICKLE_PAUSE_MS = 1000;
/** Longest time that a pause on behalf of the rate is put off, so that small pieces need no timer each. */
const LEAST_PAUSE_MS = 4;
const DUPLICATE_LIVES_MS = 1000;

/** A TCP line to a server of this machine on which things go wrong when they are told to. It knows enough of HTTP to tell links from data. */
export class FaultyLine implements AsyncDisposable {
  /** How fast data may pass in each direction of each connection, in bytes a second. Links are not held up. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #connections = new Set<Connection>();
  readonly #passed = new Map<string, number>();
  readonly #watchers = new Set<() => void>();
  #armed: (LineFault & { readonly from: number }) | undefined;
  #outage: { readonly kind: LineFaultKind; readonly until: number } | undefined;
  #hasStruck = false;
  #healing = new AbortController();

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.#accept(near));
  }

  /** Listens on a free port of loopback, for connections to another port of loopback. */
  static async to(targetPort: number): Promise<FaultyLine> {
    const line = new FaultyLine(targetPort);
    line.#server.listen(0, '127.0.0.1');
    await once(line.#server, 'listening');
    return line;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** Whether the fault that was armed last has begun. */
  get hasStruck(): boolean {
    return this.#hasStruck;
  }

  /** Fires when what is wrong is put right. */
  get healing(): AbortSignal {
    return this.#healing.signal;
  }

  /** Lets one fault happen once. */
  arm(fault: LineFault): void {
    this.#hasStruck = false;
    this.#armed = { ...fault, from: this.passed(fault.traffic, fault.direction) };
  }

  /** How many bytes of a traffic have passed in a direction so far. */
  passed(traffic: Traffic, direction: Direction): number {
    return this.#passed.get(`${traffic} ${direction}`) ?? 0;
  }

  /** Resolves when so many more bytes have passed, or the signal fires. */
  async whenPassed(traffic: Traffic, direction: Direction, bytes: number, signal: AbortSignal): Promise<void> {
    const goal = this.passed(traffic, direction) + bytes;
    const reached = Promise.withResolvers<void>();
    const look = (): void => {
      if (this.passed(traffic, direction) >= goal || signal.aborted) reached.resolve();
    };
    this.#watchers.add(look);
    signal.addEventListener('abort', look, { once: true });
    look();
    await reached.promise;
    this.#watchers.delete(look);
    signal.removeEventListener('abort', look);
  }

  /** Ends what is wrong: connections that a fault holds are reset, as TCP itself would do in time, and new ones are whole. */
  heal(): void {
    this.#armed = undefined;
    this.#outage = undefined;
    for (const connection of this.#connections) if (connection.isHeld) connection.reset();
    this.#healing.abort();
    this.#healing = new AbortController();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.heal();
    for (const connection of this.#connections) connection.reset();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** @internal Counts bytes that are about to pass, and says which of them a fault befalls. */
  take(connection: Connection, direction: Direction, bytes: Buffer): { at: number; fault: LineFault } | undefined {
    const { length } = bytes;
    const key = `${connection.traffic} ${direction}`;
    const before = this.#passed.get(key) ?? 0;
    this.#passed.set(key, before + length);
    for (const wake of this.#watchers) wake();
    const fault = this.#armed;
    if (fault === undefined || fault.traffic !== connection.traffic || fault.direction !== direction) return undefined;
    // A bit of a head may make it a whole other request.
    const least = fault.kind === 'flip' ? findBody(bytes) : 0;
    const at = Math.max(least, fault.from + fault.afterBytes - before);
    if (at >= length) return undefined;
    this.#armed = undefined;
    this.#hasStruck = true;
    if (fault.outageMs > 0) {
      this.#outage = { kind: fault.kind, until: Date.now() + fault.outageMs };
      for (const other of this.#connections) if (other !== connection) other.suffer(fault);
    }
    return { at, fault };
  }

  /** @internal Whether requests are written down, to be said once more. */
  get wantsRequests(): boolean {
    return this.#armed?.kind === 'duplicate';
  }

  /** @internal */
  forget(connection: Connection): void {
    this.#connections.delete(connection);
  }

  #accept(near: Socket): void {
    const connection = new Connection(this, near, this.#targetPort);
    this.#connections.add(connection);
    const outage = this.#outage;
    if (outage === undefined || Date.now() >= outage.until) return;
    // A network that swallows packets swallows the first ones too, which are sent again until they get through.
    if (outage.kind === 'black-hole' || outage.kind === 'trickle') connection.hold(outage.until - Date.now());
    else connection.reset();
  }
}

/** Two sockets that belong together. */
class Connection {
  traffic: Traffic = 'data';
  /** Nothing passes, or hardly anything; only healing ends it. */
  isHeld = false;
  readonly #line: FaultyLine;
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #targetPort: number;
  #isBlack = false;
  #held: Promise<void> | undefined;
  #isOver = false;
  #trickleUntil = 0;
  #recording: Recording | undefined;
  #linkRequest: Buffer | undefined;

  constructor(line: FaultyLine, near: Socket, targetPort: number) {
    this.#line = line;
    this.#near = near;
    this.#targetPort = targetPort;
    this.#far = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.#join(near, this.#far, 'up');
    this.#join(this.#far, near, 'down');
  }

  /** Both ends get an RST. */
  reset(): void {
    this.#isOver = true;
    for (const socket of [this.#near, this.#far]) resetConnection(socket);
  }

  /** Nothing passes yet. */
  hold(ms: number): void {
    this.#held = pause(ms, this.#line.healing);
  }

  /** Nothing passes any more. */
  blacken(): void {
    this.#isBlack = true;
    this.isHeld = true;
  }

  /** Has a fault that began on another connection of the line. */
  suffer({ kind, trickleMs }: LineFault): void {
    if (kind === 'black-hole') this.blacken();
    else if (kind === 'trickle') this.#trickle(trickleMs);
    else if (kind === 'fin') this.#finish();
    else if (kind === 'rst' || kind === 'cut') this.reset();
  }

  #trickle(ms = Number.POSITIVE_INFINITY): void {
    this.#trickleUntil = Date.now() + ms;
    this.isHeld = true;
  }

  #finish(): void {
    this.#isOver = true;
    for (const socket of [this.#near, this.#far]) socket.end();
  }

  #join(from: Socket, to: Socket, direction: Direction): void {
    from.on('data', (bytes: Buffer) => {
      from.pause();
      void this.#forward(bytes, to, direction).then(() => {
        if (!this.#isBlack) from.resume();
      });
    });
    from.on('end', () => {
      if (!this.#isBlack) to.end();
    });
    from.on('error', () => {});
    from.on('close', (hadError) => {
      if (this.#near.destroyed && this.#far.destroyed) this.#line.forget(this);
      if (this.#isBlack) return;
      if (hadError) this.reset();
      else if (from.readableEnded) to.end();
      else to.destroy();
    });
  }

  async #forward(bytes: Buffer, to: Socket, direction: Direction): Promise<void> {
    await this.#held;
    if (direction === 'up') this.#read(bytes);
    const hit = this.#isBlack || this.#isOver ? undefined : this.#line.take(this, direction, bytes);
    if (hit !== undefined) await this.#strike(hit.fault, hit.at, bytes, to);
    else await this.#write(bytes, to);
  }

  /** What a client says: which traffic this is, and what may be said once more. */
  #read(bytes: Buffer): void {
    const path = REQUEST_LINE.exec(bytes.subarray(0, 512).toString('latin1'))?.[1];
    if (path !== undefined) {
      this.traffic = LINK_PATH.test(path) ? 'link' : 'data';
      if (this.traffic === 'link') this.#linkRequest = Buffer.from(bytes);
      this.#recording = this.#line.wantsRequests ? new Recording() : undefined;
    }
    if (this.#recording?.add(bytes) === 'too long') this.#recording = undefined;
    if (this.#recording?.isWanted && this.#recording.isWhole) this.#sendAgain(this.#recording.bytes);
  }

  async #strike({ kind, trickleMs }: LineFault, at: number, bytes: Buffer, to: Socket): Promise<void> {
    switch (kind) {
      case 'rst':
        this.reset();
        return;
      case 'fin':
        this.#finish();
        return;
      case 'cut':
        this.#isOver = true;
        if (at > 0) to.write(bytes.subarray(0, at));
        to.end(() => this.reset());
        return;
      case 'black-hole':
        this.blacken();
        return;
      case 'trickle':
        this.#trickle(trickleMs);
        break;
      case 'flip':
        bytes[at] = (bytes[at] as number) ^ 0x10;
        break;
      case 'duplicate':
        if (this.#linkRequest !== undefined) this.#sendAgain(this.#linkRequest);
        else if (this.#recording !== undefined) {
          this.#recording.isWanted = true;
          if (this.#recording.isWhole) this.#sendAgain(this.#recording.bytes);
        }
        break;
    }
    await this.#write(bytes, to);
  }

  async #write(bytes: Buffer, to: Socket): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#isBlack || this.#isOver || to.destroyed) return;
      const isTrickling = Date.now() < this.#trickleUntil;
      const piece = isTrickling ? rest.subarray(0, 1) : rest;
      rest = rest.subarray(piece.length);
      const ms = isTrickling ? TRICKLE_PAUSE_MS : (piece.length / this.#line.bytesPerSecond) * 1000;
      to.write(piece);
      const isPaced = isTrickling || (this.traffic === 'data' && ms >= LEAST_PAUSE_MS);
      if (isPaced) await pause(ms, this.#line.healing);
      if (to.writableNeedDrain && !to.destroyed) await whenDrained(to, this.#line.healing);
    }
  }

  #sendAgain(request: Buffer): void {
    this.#recording = undefined;
    this.#linkRequest = undefined;
    const socket = connect({ port: this.#targetPort, host: '127.0.0.1' });
    const timer = setTimeout(() => socket.destroy(), DUPLICATE_LIVES_MS);
    socket.on('error', () => {});
    socket.on('close', () => clearTimeout(timer));
    socket.resume();
    socket.write(request);
  }
}

/** One request as it passes, whole by its `Content-Length`. */
class Recording {
  isWanted = false;
  #pieces: Buffer[] = [];
  #length = 0;
  #whole: number | undefined;

  get isWhole(): boolean {
    return this.#whole !== undefined && this.#length >= this.#whole;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces).subarray(0, this.#whole);
  }

  add(bytes: Buffer): 'too long' | undefined {
    if (this.isWhole) return undefined;
    this.#pieces.push(Buffer.from(bytes));
    this.#length += bytes.length;
    if (this.#length > 32_000_000) return 'too long';
    if (this.#whole === undefined) {
      const head = Buffer.concat(this.#pieces).toString('latin1', 0, 16_384);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return undefined;
      this.#whole = end + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(head.slice(0, end))?.[1] ?? 0);
    }
    return undefined;
  }
}

/** Where the body begins in what may begin with a head. */
function findBody(bytes: Buffer): number {
  const text = bytes.toString('latin1', 0, 16_384);
  if (!/^(?:[A-Z]+ \S+ )?HTTP\/1\.[01][ \r]/.test(text)) return 0;
  const end = text.indexOf('\r\n\r\n');
  return end < 0 ? bytes.length : end + 4;
}

/** Waits, but no longer than until the signal fires. */
const pause = (ms: number, signal: AbortSignal): Promise<void> => wait(ms, undefined, { signal }).catch(() => {});

/** Resolves when a socket takes bytes again, or never will. */
async function whenDrained(socket: Socket, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const options = { signal: AbortSignal.any([signal, over.signal]) };
  await Promise.race([once(socket, 'drain', options), once(socket, 'close', options)]).catch(() => {});
  over.abort();
}
