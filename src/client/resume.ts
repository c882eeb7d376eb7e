import { RelayError } from '../protocol/errors.ts';
import { backoff, pause } from './pause.ts';
import { describe } from './transport.ts';

/** How long to try on without a byte before a transfer is given up, in milliseconds: a router may restart meanwhile. */
const PATIENCE_MS = 60_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/** What going on with a body needs. */
interface ResumePlan {
  /** Where in the whole the first response begins. Default 0. */
  readonly offset?: number | undefined;
  /** Size of the whole in bytes, where it is known. */
  readonly size: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Asks why a body broke off, whose connection can only be cut; undefined where nobody knows. Never rejects. */
  readonly explain: () => Promise<RelayError | undefined>;
  /**
   * Asks for the rest from `offset` on, of the same dataset and no other.
   * @returns undefined where the rest cannot be had by itself. @throws {RelayError} dataset_changed when it is another by now.
   */
  readonly reopen: ((offset: number) => Promise<ReadableStream<Uint8Array> | undefined>) | undefined;
  /** Told before each pause. */
  readonly onInterruption?: ((error: RelayError, offset: number) => void) | undefined;
}

/**
 * Passes a response's bytes on as they are read, never ahead of the reader, and goes on by further responses where one
 * breaks off. It errors when that cannot be done, or when there are not as many bytes as `size`. Cancelling it cancels the
 * response.
 */
export function resumableBody(first: ReadableStream<Uint8Array> | null, plan: ResumePlan): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(new ResumableSource(first, plan), { highWaterMark: 0 });
}

class ResumableSource implements UnderlyingDefaultSource<Uint8Array> {
  readonly #plan: ResumePlan;
  readonly #cancelled = new AbortController();
  /** Fires when nobody wants the rest any more. */
  readonly #signal: AbortSignal;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  /** Bytes up to here need not be asked for any more. */
  #received: number;

  constructor(first: ReadableStream<Uint8Array> | null, plan: ResumePlan) {
    this.#plan = plan;
    const { signal } = this.#cancelled;
    this.#signal = plan.signal ? AbortSignal.any([plan.signal, signal]) : signal;
    this.#received = plan.offset ?? 0;
    this.#reader = (first ?? new Blob([]).stream()).getReader();
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const { size } = this.#plan;
    try {
      const value = await this.#next();
      if (value !== undefined) {
        this.#received += value.length;
        controller.enqueue(value);
      } else if (size !== undefined && this.#received !== size) {
        controller.error(interrupted(`it ended after ${this.#received} of ${size} bytes`));
      } else {
        controller.close();
      }
    } catch (error) {
      controller.error(this.#signal.aborted ? this.#signal.reason : error);
    }
  }

  async cancel(reason: unknown): Promise<void> {
    // The read that is under way ends with it, as it would where the transfer breaks off.
    this.#cancelled.abort(reason);
    await this.#reader.cancel(reason);
  }

  /** The next bytes, from whichever response has them; undefined at the end. */
  async #next(): Promise<Uint8Array | undefined> {
    const { size } = this.#plan;
    for (;;) {
      try {
        const { done, value } = await this.#reader.read();
        if (!done) return value;
        if (size === undefined || this.#received >= size) return undefined;
        throw interrupted(`it ended after ${this.#received} of ${size} bytes`);
      } catch (cause) {
        this.#signal.throwIfAborted();
        const reason = await this.#plan.explain();
        await this.#goOn(reason ?? interrupted(`after ${this.#received} bytes: ${describe(cause)}`, cause));
        if (this.#received === size) return undefined;
      }
    }
  }

  /** Opens the rest. @throws what broke the body off, where there is no going on. */
  async #goOn(reason: RelayError): Promise<void> {
    const { reopen, onInterruption, size } = this.#plan;
    if (reopen === undefined || !reason.retryable || isFinal(reason)) throw reason;
    // All is there but the word that it is right, which the digest gives.
    if (this.#received === size) return;
    const until = Date.now() + PATIENCE_MS;
    for (let failures = 1, error = reason; ; failures += 1) {
      onInterruption?.(error, this.#received);
      const asked = (error.details.retry_after ?? 0) * 1000;
      const delayMs = Math.max(Math.min(asked, LONGEST_PAUSE_MS), backoff(failures, FIRST_PAUSE_MS, LONGEST_PAUSE_MS));
      await pause(delayMs, this.#signal);
      try {
        const rest = await reopen(this.#received);
        if (rest === undefined) throw reason;
        if (this.#signal.aborted) await rest.cancel().catch(() => undefined);
        this.#signal.throwIfAborted();
        this.#reader = rest.getReader();
        return;
      } catch (thrown) {
        this.#signal.throwIfAborted();
        error = RelayError.from(thrown);
        if (error === reason || !error.retryable || isFinal(error) || Date.now() >= until) throw error;
      }
    }
  }
}

/** What another try would only meet again: the content itself is not what it was. */
export const isFinal = ({ code }: RelayError): boolean => code === 'dataset_changed' || code === 'content_mismatch';

const interrupted = (why: string, cause?: unknown): RelayError =>
  new RelayError('transfer_interrupted', `the transfer broke off: ${why}`, { cause });
