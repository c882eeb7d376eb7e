import { once } from 'node:events';
import { checkTarget, outputError, type Receipt, saveTo, writeOut } from '../../files.ts';
import type { Content } from '../../index.ts';
import type { Io } from '../io.ts';
import { formatBytes, formatDuration } from './format.ts';
import { createProgress, type Progress, wantsProgress } from './progress.ts';
import { OutputClosed, type Session } from './session.ts';

/** Where the bytes of one command go, and what is said meanwhile. */
export class Output {
  readonly progress: Progress;
  readonly #session: Session;
  readonly #path: string | undefined;
  readonly #startedAt = Date.now();
  #isBegun = false;
  /** What is written cannot be taken back: standard output, a pipe, a device. */
  #isDirect: boolean;

  constructor(session: Session) {
    const { io, config } = session;
    this.#session = session;
    this.#path = config.output === '-' ? undefined : config.output;
    this.#isDirect = this.#path === undefined;
    this.progress = createProgress(io.stderr, this.showsProgress);
  }

  /** Whether nothing has left the process that cannot be taken back. */
  get isUntouched(): boolean {
    return !this.#isBegun;
  }

  /** Checks that the file can be written, before anything is asked of anybody. @throws {RelayError} output_failed when it cannot. */
  async prepare(): Promise<void> {
    if (this.#path !== undefined) this.#isDirect = (await checkTarget(this.#path)).isSpecial;
  }

  /** Whether anybody sees the progress. */
  get showsProgress(): boolean {
    const { io, config } = this.#session;
    return wantsProgress(io, config);
  }

  /**
   * Brings the content to where it belongs, checks it, and says how that went.
   * @throws {RelayError} as `saveTo` and `writeOut` do; output_failed when standard output fails.
   * @throws {OutputClosed} when nobody reads standard output any more.
   */
  async deliver(content: Content): Promise<Receipt> {
    const { signal, config, endWaiting } = this.#session;
    endWaiting();
    this.progress.begin('receiving', content.size);
    const options = {
      signal,
      requireDigest: config.verify,
      onBytes: (received: number) => {
        this.#isBegun ||= this.#isDirect;
        this.progress.update(received);
      },
    };
    try {
      const receipt = await (this.#path === undefined
        ? onStdout(() => writeOut(this.#session.io.stdout, content, options))
        : saveTo(this.#path, content, options));
      this.progress.end();
      this.#conclude(receipt);
      return receipt;
    } finally {
      this.progress.end();
    }
  }

  #conclude({ size, verified }: Receipt): void {
    const { io, note } = this.#session;
    if (!verified)
      note('unverified: the node gave no digest, so only the size was checked (--verify makes this an error)');
    if (this.#path === undefined || io.stderr.isTTY !== true) return;
    const ms = Math.max(1, Date.now() - this.#startedAt);
    const rate = formatBytes(Math.round((size * 1000) / ms));
    note(
      `${this.#path}: ${formatBytes(size)} in ${formatDuration(ms)} (${rate}/s)${verified ? ', SHA-256 verified' : ''}`,
    );
  }
}

/** Prints text on standard output, no faster than it is read. @throws {OutputClosed} when nobody reads it any more. */
export async function print({ stdout }: Io, text: string, signal: AbortSignal): Promise<void> {
  await onStdout(async () => {
    if (stdout.errored || stdout.destroyed) throw new OutputClosed();
    const failed = new AbortController();
    const onError = (error: unknown): void => failed.abort(error);
    stdout.once('error', onError);
    try {
      if (!stdout.write(text)) await once(stdout, 'drain', { signal: AbortSignal.any([signal, failed.signal]) });
    } catch (error) {
      signal.throwIfAborted();
      failed.signal.throwIfAborted();
      throw error;
    } finally {
      stdout.removeListener('error', onError);
    }
  });
}

/** `head` has seen enough: that is no error of anybody's. */
async function onStdout<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') throw new OutputClosed();
    if (error instanceof Error && 'syscall' in error) throw outputError(error, 'standard output');
    throw error;
  }
}
