import type { Stats } from 'node:fs';
import { access, constants, type FileHandle, lstat, readlink, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type ErrorCode, RelayError } from '../protocol/errors.ts';
import { freePiece } from '../http/free-piece.ts';
import { type Content, isPartsContent, type Known, type PartsContent } from './content.ts';
import { hashLead, type Lead, PositionedWriter, SequentialWriter } from './file-writer.ts';
import { findCopy } from './local-copy.ts';
import { outputError } from './output-error.ts';
import { leadOf, type Origin, PartialFile } from './partial-file.ts';
import { endSpecialFile, openSpecialFile } from './special-file.ts';
import { countBytes, cutBefore, type Span } from './spans.ts';
import { TemporaryFile } from './temporary-file.ts';
import { type Receipt, type Received, verify } from './verify.ts';
import { type SaveOptions, writeOut } from './write-out.ts';

const MAX_LINKS = 40;

/** What can be saved: content, or what gives it when it is known what is there of it already. */
export type ContentSource = Content | ((known: Known | undefined) => Promise<Content>);

/** How to go on with what a transfer that broke off has left. */
export interface ResumeOptions {
  /** Names the dataset, as `RelayClient.datasetUrl` does: nothing else that was left under the target is gone on with. */
  readonly from: string;
  /** Begin anew whatever is there. Default false: what is there of a dataset that has changed since is an error. */
  readonly startOver?: boolean | undefined;
  /** Told, before the content is asked for, how many bytes of how many are there. */
  readonly onResume?: ((there: number, size: number) => void) | undefined;
  /** Told that what is there cannot be gone on with, and why. */
  readonly onStartOver?: ((reason: string) => void) | undefined;
  /** Told, when it fails, how many bytes of how many are left for the next time. */
  readonly onKept?: ((there: number, size: number) => void) | undefined;
}

/** How to save to a file. */
export interface SaveToOptions extends SaveOptions {
  /** Leave what has arrived when it breaks off, and go on with it the next time. Default: nothing is left. */
  readonly resume?: ResumeOptions | undefined;
  /** Whether a target that is a link is followed, and one that is a device or FIFO written to. Default true. */
  readonly followLinks?: boolean | undefined;
  /** Told of the file when it has its name: its size, and its time of change in milliseconds since 1970. */
  readonly onSaved?: ((file: { readonly size: number; readonly mtimeMs: number }) => void) | undefined;
}

/** What makes all that has arrived useless; after anything else the next transfer may go on with it. */
const USELESS: ReadonlySet<ErrorCode> = new Set(['dataset_changed', 'content_mismatch', 'unverified']);

/**
 * Saves content under a name, whole and checked or not at all: it is written to a temporary file beside the target, which
 * takes the target's name once size and digest agree. A symbolic link is kept and what it points to replaced; the mode of
 * a file that was there is kept; the dataset's own time of change is set. What is no regular file (a device, a FIFO) is
 * written directly. However this ends, the body is let go of.
 *
 * With `resume` a file whose content has a size and an entity tag outlives an end that may pass, `.NAME.relay-part` with
 * `.NAME.relay-part.json` beside it, for up to 7 days: the next call for the same dataset hashes it and has only the rest
 * sent. While another transfer to the same target has it, a file of this one's own is used.
 * @throws {RelayError} output_failed when the target cannot be written; dataset_changed when what is there is of another
 * state of the dataset, which is left as it is; content_mismatch or unverified as `verify` does;
 * and whatever the source throws or the body errors with.
 * @throws the signal's reason when it fires.
 */
export async function saveTo(path: string, source: ContentSource, options: SaveToOptions = {}): Promise<Receipt> {
  let content = typeof source === 'function' ? undefined : source;
  const open = async (known?: Known): Promise<Content> => {
    content ??= await (source as Exclude<ContentSource, Content>)(known);
    return content;
  };
  try {
    options.signal?.throwIfAborted();
    const finding = options.followLinks === false ? findPlainTarget(path) : findTarget(path);
    const target = await finding.catch((cause: unknown) => {
      throw outputError(cause, path);
    });
    return target.isSpecial
      ? await saveToSpecial(target.path, await open(), options)
      : await saveToFile(target, open, options);
  } finally {
    if (content?.body.locked === false) await content.body.cancel().catch(() => undefined);
  }
}

/**
 * Checks that a target can be written, before anything is transferred.
 * @returns whether it is no regular file, so that it is written directly and nothing of that can be taken back.
 * @throws {RelayError} output_failed when it cannot be written.
 */
export async function checkTarget(path: string): Promise<{ isSpecial: boolean }> {
  try {
    const target = await findTarget(path);
    if (target.isSpecial) return { isSpecial: true };
    await access(dirname(target.path), constants.W_OK | constants.X_OK);
    if (!(await stat(dirname(target.path))).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' });
    return { isSpecial: false };
  } catch (cause) {
    throw outputError(cause, path);
  }
}

interface Target {
  readonly path: string;
  /** Written directly. */
  readonly isSpecial: boolean;
  /** The regular file that is there now. */
  readonly existing: Stats | undefined;
}

/** Follows links, a last one that points to nothing included, as `open` would. */
async function findTarget(path: string): Promise<Target> {
  let current = resolve(path);
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    // What is open in a process has a name there but no directory to put a file into.
    if (/^\/(?:proc|dev\/fd)\//.test(current)) return { path: current, isSpecial: true, existing: undefined };
    const found = await lstat(current).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (found === undefined) return { path: current, isSpecial: false, existing: undefined };
    if (found.isSymbolicLink()) {
      current = resolve(dirname(current), await readlink(current));
      continue;
    }
    if (found.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
    if (!found.isFile()) return { path: current, isSpecial: true, existing: undefined };
    // A rename needs no permission of the file it replaces, and yet a file that is read-only is so on purpose.
    await access(current, constants.W_OK);
    return { path: current, isSpecial: false, existing: found };
  }
  throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' });
}

async function findPlainTarget(path: string): Promise<Target> {
  const existing = await findCopy(path);
  if (existing !== undefined) await access(path, constants.W_OK);
  return { path, isSpecial: false, existing };
}

type Open = (known?: Known) => Promise<Content>;
type Guard = <T>(work: Promise<T>) => Promise<T>;

async function saveToFile(target: Target, open: Open, options: SaveToOptions): Promise<Receipt> {
  const guard: Guard = (work) =>
    work.catch((cause: unknown) => {
      options.signal?.throwIfAborted();
      throw outputError(cause, target.path);
    });
  const partial = options.resume && (await guard(PartialFile.open(target)));
  if (options.resume !== undefined && partial !== undefined) {
    return saveToPartial(partial, open, { ...options, resume: options.resume }, guard);
  }
  const content = await open();
  const file = await guard(TemporaryFile.create(target.path, target.existing));
  try {
    const received = await fill(file.handle, content, NOTHING, options, guard);
    return await finish(file, received, content, options, guard);
  } finally {
    await file.discard();
  }
}

async function saveToPartial(
  file: PartialFile,
  open: Open,
  options: SaveToOptions & { resume: ResumeOptions },
  guard: Guard,
): Promise<Receipt> {
  let size = file.found?.size ?? 0;
  let isBegun = false;
  try {
    const known = await guard(findKnown(file, options.resume));
    const lead = await guard(hashLead(file.handle, known?.offset ?? 0, options.signal));
    const content = await open(known);
    const origin = originOf(content, options.resume.from);
    const there = await guard(takeOver(file, content, origin, lead, options.resume));
    isBegun = true;
    size = origin?.size ?? 0;
    const received = await fill(
      file.handle,
      content,
      { ...there, onWritten: (span) => file.noteWritten(span) },
      options,
      guard,
    );
    return await finish(file, received, content, options, guard);
  } catch (error) {
    // What was there before is of use until something is written over it.
    const isUseless = isBegun && error instanceof RelayError && USELESS.has(error.code);
    const kept = isUseless ? 0 : await file.keep().catch(() => 0);
    if (kept > 0) options.resume.onKept?.(kept, size);
    throw error;
  } finally {
    await file.discard();
  }
}

/** What is there of the dataset, once what is of none or of another is gone. */
async function findKnown(file: PartialFile, resume: ResumeOptions): Promise<Known | undefined> {
  const { found } = file;
  if (found === undefined) return undefined;
  if (resume.startOver !== true && found.from === resume.from) {
    resume.onResume?.(countBytes(found.spans), found.size);
    // A last byte is always asked for: that it can be had says that the dataset is still the same.
    return { etag: found.etag, size: found.size, offset: Math.min(leadOf(found.spans), found.size - 1) };
  }
  if (resume.startOver !== true) resume.onStartOver?.('the partial file that is there is of another dataset');
  await file.clear();
  return undefined;
}

/** What the content is written after. */
interface There {
  readonly lead: Lead | undefined;
  readonly spans: readonly Span[];
  readonly onWritten?: ((span: Span) => void) | undefined;
}

const NOTHING: There = { lead: undefined, spans: [] };

async function takeOver(
  file: PartialFile,
  content: Content,
  origin: Origin | undefined,
  lead: Lead,
  resume: ResumeOptions,
): Promise<There> {
  const { offset = 0 } = content;
  const inParts = fetchesParts(content);
  const { found } = file;
  const isSame = found !== undefined && origin?.etag === found.etag && origin.size === found.size;
  if (found !== undefined && !isSame) {
    throw new RelayError('dataset_changed', 'the dataset has changed since the partial file was begun', {
      details: { retryable: false },
    });
  }
  if (found !== undefined && !inParts && offset !== lead.size) {
    resume.onStartOver?.('the rest cannot be had by itself');
    await file.clear();
  }
  const spans = file.found?.spans ?? [];
  if (offset > 0 && file.found === undefined)
    throw new RelayError('internal', 'the content begins after what is there');
  await file.begin(origin, inParts ? undefined : offset);
  return file.found === undefined ? NOTHING : { lead, spans };
}

/** What a partial file must be known by, so that it can be gone on with; undefined where it cannot. */
function originOf({ etag, size }: Content, from: string): Origin | undefined {
  return etag === undefined || etag.startsWith('W/') || size === undefined ? undefined : { from, etag, size };
}

const fetchesParts = (content: Content): content is PartsContent => isPartsContent(content) && content.isLarge;

async function fill(
  handle: FileHandle,
  content: Content,
  there: There,
  options: SaveOptions,
  guard: Guard,
): Promise<Received> {
  return fetchesParts(content)
    ? fillInParts(handle, content, there, options, guard)
    : fillInOrder(handle, content, there, options, guard);
}

async function finish(
  file: { commit(lastModified: Date | undefined): Promise<Stats> },
  received: Received,
  content: Content,
  { requireDigest, signal, onSaved }: SaveToOptions,
  guard: Guard,
): Promise<Receipt> {
  const receipt = await verify(received, content, requireDigest);
  signal?.throwIfAborted();
  const saved = await guard(file.commit(content.lastModified));
  onSaved?.(saved);
  return receipt;
}

async function fillInOrder(
  handle: FileHandle,
  content: Content,
  { lead }: There,
  { signal, onBytes, ownsBytes }: SaveOptions,
  guard: Guard,
): Promise<Received> {
  const writer = new SequentialWriter(handle, lead, ownsBytes);
  const reader = content.body.getReader();
  let cancelled: Promise<unknown> | undefined;
  const onAbort = (): unknown => (cancelled ??= reader.cancel(signal?.reason).catch(() => undefined));
  signal?.addEventListener('abort', onAbort, { once: true });
  let size = lead?.size ?? 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return await guard(writer.finish());
      // Once it is written its length may be gone.
      size += value.length;
      await guard(writer.write(value));
      onBytes?.(size);
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await onAbort();
    await writer.settle();
  }
}

async function fillInParts(
  handle: FileHandle,
  content: PartsContent,
  { lead, spans, onWritten }: There,
  { signal, onBytes, ownsBytes = false }: SaveOptions,
  guard: Guard,
): Promise<Received> {
  const writer = new PositionedWriter(handle, lead, cutBefore(spans, lead?.size ?? 0));
  let size = countBytes(spans);
  const write = async (bytes: Uint8Array, offset: number): Promise<void> => {
    const { length } = bytes;
    await guard(writer.writeAt(bytes, offset));
    if (ownsBytes) freePiece(bytes);
    onWritten?.([offset, offset + length]);
    size += length;
    onBytes?.(size);
  };
  await content.writeParts(write, signal, spans);
  return guard(writer.finish());
}

async function saveToSpecial(path: string, content: Content, options: SaveOptions): Promise<Receipt> {
  const file = await openSpecialFile(path, options.signal).catch((cause: unknown) => {
    options.signal?.throwIfAborted();
    throw outputError(cause, path);
  });
  try {
    const receipt = await writeOut(file, content, options);
    await endSpecialFile(file);
    return receipt;
  } catch (error) {
    options.signal?.throwIfAborted();
    // The stream throws what the system said; all else is RelayError already.
    throw error instanceof RelayError ? error : outputError(error, path);
  } finally {
    file.destroy();
  }
}
