import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { RelayError } from '../protocol/errors.ts';
import { toBodyError } from './coder.ts';
import { turns } from './turns.ts';

/** How much of a body is looked at to say whose it was. */
const BEGINNING_BYTES = 4096;

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** How long a body may take at first, and how fast it has to come then. */
interface BodyPace {
  readonly timeoutMs: number;
  readonly minBytesPerSecond: number;
}

/** What the owner of a body wants to know of it while it comes. */
export interface BodyWatch {
  /** Called with each piece's length when it comes; throws to refuse it. */
  readonly reserve?: (bytes: number) => void;
  /** Called with the beginning of a body that is refused, or all of it, byte by byte; gives the error to throw. */
  readonly refuse?: (error: RelayError, beginning: string) => RelayError;
  /** How long the body may take: so long, and longer as it comes at this rate. Without it there is no end to it. */
  readonly pace?: BodyPace | undefined;
}

/**
 * Reads a whole message body into memory.
 * @param limit most bytes that are taken in; above it nothing more is kept.
 * @throws {RelayError} invalid_request when the body is larger than `limit`; transfer_interrupted when it breaks off;
 * request_timeout when it comes too slowly.
 */
export async function readBody(message: IncomingMessage, limit: number, watch: BodyWatch = {}): Promise<Buffer> {
  const declared = Number(message.headers['content-length'] ?? 0);
  const pieces: Buffer[] = [];
  let length = 0;
  const take = (piece: Buffer): void => {
    pieces.push(piece);
    length += piece.length;
    if (length > limit || declared > limit) throw tooLarge(limit);
    watch.reserve?.(piece.length);
  };
  const arriving = message.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
  const lateness = watch.pace === undefined ? undefined : new Lateness(watch.pace, () => length);
  try {
    for (;;) {
      const next = await (lateness === undefined ? arriving.next() : Promise.race([arriving.next(), lateness.late]));
      if (next.done === true) break;
      take(next.value);
    }
  } catch (thrown) {
    const error = RelayError.from(thrown, 'transfer_interrupted');
    if (error.code === 'transfer_interrupted' || watch.refuse === undefined) throw error;
    throw watch.refuse(error, Buffer.concat(pieces, Math.min(length, BEGINNING_BYTES)).toString('latin1'));
  } finally {
    lateness?.stop();
    // Waits for the piece that is asked for, which may never come.
    void arriving.return?.().catch(() => {});
  }
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, length);
}

/** A body that is being passed on. */
export interface Passing {
  /** Resolves when it has ended. @throws {RelayError} transfer_interrupted when it breaks off; what cut it or refused a piece. */
  readonly done: Promise<void>;
  /** Lets go of it: what comes after that is not looked at. */
  readonly cut: (error: RelayError) => void;
  /** Lets nothing more of it come, but for a piece or two, until it is released. */
  readonly hold: () => void;
  readonly release: () => void;
}

/**
 * Passes a body on piece by piece as it arrives, in turn with others.
 * @param take gets each piece; throws to refuse it.
 * @param letGo called once when it is over, whatever the outcome, before anything else can happen.
 */
export function passBody(body: Readable, take: (piece: Buffer) => void, letGo: () => void): Passing {
  const { promise: done, resolve, reject } = Promise.withResolvers<void>();
  let over = false;
  let isHeld = false;
  let isOutOfTurn = false;
  let isPaused = false;
  const settle = (error?: RelayError): void => {
    if (over) return;
    over = true;
    turns.leave();
    body.removeAllListeners('data');
    letGo();
    if (error === undefined) resolve();
    else reject(error);
  };
  const apply = (): void => {
    const wasPaused = isPaused;
    isPaused = isHeld || isOutOfTurn;
    if (isPaused && !wasPaused) body.pause();
    else if (wasPaused && !isPaused) body.resume();
  };
  const goOn = (): void => {
    isOutOfTurn = false;
    apply();
  };
  turns.join();
  body.on('data', (piece: Buffer) => {
    if (over) return;
    const { length } = piece;
    try {
      take(piece);
    } catch (error) {
      settle(RelayError.from(error));
    }
    if (isOutOfTurn || turns.spend(length, goOn)) return;
    isOutOfTurn = true;
    apply();
  });
  body.on('end', () => settle());
  body.on('error', (cause) => settle(toBodyError(cause)));
  body.on('close', () => settle(new RelayError('transfer_interrupted', 'the body broke off')));
  return {
    done,
    cut: settle,
    hold: () => {
      isHeld = true;
      apply();
    },
    release: () => {
      isHeld = false;
      apply();
    },
  };
}

/** Waits until a body is late. */
class Lateness {
  /** Rejects when it is. */
  readonly late: Promise<never>;
  #timer: NodeJS.Timeout | undefined;

  constructor({ timeoutMs, minBytesPerSecond }: BodyPace, received: () => number) {
    const begunAt = performance.now();
    this.late = new Promise<never>((_, reject) => {
      const look = (): void => {
        const allowedMs = timeoutMs + (received() / minBytesPerSecond) * 1000;
        const leftMs = begunAt + allowedMs - performance.now();
        if (leftMs > 0) {
          // Longer than a timer can wait is looked at again.
          this.#timer = setTimeout(look, Math.min(Math.ceil(leftMs), LONGEST_TIMER_MS));
          return;
        }
        const seconds = Math.round(allowedMs / 100) / 10;
        reject(new RelayError('request_timeout', `the body did not come whole within ${seconds} s`));
      };
      look();
    });
    this.late.catch(() => {});
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

function tooLarge(limit: number): RelayError {
  return new RelayError('invalid_request', `the body is larger than ${limit} bytes`, { details: { limit } });
}
