import { once } from 'node:events';
import { checkTarget, outputError, type Receipt, type ResumeOptions, saveTo, writeOut } from '../../files.ts';
import { type Content, type Known, RelayError } from '../../index.ts';
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
  #hasBytes = false;
  /** The dataset changed when some of it had arrived. */
  #isSpoilt = false;
  /** What is written cannot be taken back: standard output, a pipe, a device. */
  #isDirect: boolean;

  constructor(session: Session) {
    const { io, config } = session;
    this.#session = session;
    this.#path = config.output === '-' ? undefined : config.output;
    this.#isDirect = this.#path === undefined;
    this.progress = createProgress(io.stderr, this.showsProgress);
  }

  /**
   * Whether asking for the content again is right: nothing has left the process that cannot be taken back, and no file would
   * be begun anew that was told to be gone on with.
   */
  get mayTryAgain(): boolean {
    return !this.#isBegun && !this.#isSpoilt;
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
   * @param open gives the content; what of it is there already need not be in it.
   * @param from names the dataset where a partial file of it may be left and gone on with.
   * @throws {RelayError} as `saveTo` and `writeOut` do; output_failed when standard output fails.
   * @throws {OutputClosed} when nobody reads standard output any more.
   */
  async deliver(open: (known: Known | undefined) => Promise<Content>, from?: string): Promise<Receipt> {
    const session = this.#session;
    const { signal, config } = session;
    let skipped = 0;
    let content: Content | undefined;
    const begin = async (known?: Known): Promise<Content> => {
      content = await open(known);
      session.endWaiting();
      skipped = content.offset ?? 0;
      this.progress.begin('receiving', content.size, skipped);
      return content;
    };
    const options = {
      signal,
      requireDigest: config.verify,
      ownsBytes: true,
      onBytes: (received: number) => {
        this.#hasBytes = true;
        this.#isBegun ||= this.#isDirect;
        this.progress.update(received);
      },
    };
    session.keepPartial(undefined);
    try {
      const receipt = await (this.#path === undefined
        ? onStdout(async () => writeOut(session.io.stdout, await begin(), options))
        : saveTo(this.#path, begin, { ...options, resume: from === undefined ? undefined : this.#resume(from) }));
      this.progress.end();
      this.#conclude(receipt, skipped);
      noteGrowth(session, receipt.size, await content?.currentSize?.());
      return receipt;
    } catch (error) {
      // All of it again is what --no-resume asks for.
      this.#isSpoilt ||= this.#hasBytes && config.resume && isChanged(error);
      throw error;
    } finally {
      this.progress.end();
    }
  }

  #resume(from: string): ResumeOptions {
    const { config, note, keepPartial } = this.#session;
    return {
      from,
      startOver: !config.resume,
      onResume: (there, size) =>
        note(`going on with the partial file: ${formatBytes(there)} of ${formatBytes(size)} are there`),
      onStartOver: (reason) => note(`${reason}; starting over`),
      onKept: (there, size) => keepPartial(`${formatBytes(there)} of ${formatBytes(size)} are there`),
    };
  }

  #conclude({ size, verified }: Receipt, skipped: number): void {
    const { io, note } = this.#session;
    if (!verified)
      note('unverified: the node gave no digest, so only the size was checked (--verify makes this an error)');
    if (this.#path === undefined || io.stderr.isTTY !== true) return;
    const ms = Math.max(1, Date.now() - this.#startedAt);
    const rate = formatBytes(Math.round(((size - skipped) * 1000) / ms));
    note(
      `${this.#path}: ${formatBytes(size)} in ${formatDuration(ms)} (${rate}/s)${verified ? ', SHA-256 verified' : ''}`,
    );
  }
}

const isChanged = (error: unknown): boolean => error instanceof RelayError && error.code === 'dataset_changed';

/** Says that a dataset has grown since what was fetched of it was opened. */
export function noteGrowth({ note }: Session, size: number, currentSize: number | undefined): void {
  if (currentSize === undefined || currentSize <= size) return;
  note(`the dataset has grown to ${formatBytes(currentSize)} meanwhile; these are its first ${formatBytes(size)}`);
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
