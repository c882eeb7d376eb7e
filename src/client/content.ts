import { digest as digestSchema } from '../protocol/fields.ts';
import { findGaps, type Span } from './spans.ts';

/** What is there of a content already, to be gone on with. */
export interface Known {
  /** Strong entity tag of the dataset, with its quotes. */
  readonly etag: string;
  /** Of the whole, in bytes. */
  readonly size: number;
  /** How many bytes are there, from the first on. */
  readonly offset: number;
}

/** What can be saved or written out: bytes, and what is known about them. */
export interface Content {
  /** Strong entity tag of the dataset, with its quotes, where it is known. */
  readonly etag?: string | undefined;
  /** Where in the whole `body` begins, in bytes. Default 0. */
  readonly offset?: number | undefined;
  /** Size of the whole in bytes, where it is known. */
  readonly size?: number | undefined;
  /** Time of the dataset's last change, where it is known. */
  readonly lastModified?: Date | undefined;
  /** The bytes from `offset` on in order, to be read once. It errors when they end early, so a body that ended is a whole one. */
  readonly body: ReadableStream<Uint8Array>;
  /** SHA-256 of the whole as `sha-256=:…:`; undefined where there is none. To be called when the body has ended. */
  digest(): Promise<string | undefined>;
  /**
   * How large the dataset was when the node last looked at it, in bytes: more than `size` where it has grown. Undefined
   * where nobody knows. There where `onChange` asked for it, and to be called when the body has ended.
   */
  currentSize?(): Promise<number | undefined>;
}

/** Takes bytes in that belong at `offset`; resolves when there is room for more, and the bytes are not needed any more. */
export type WriteAt = (bytes: Uint8Array, offset: number) => Promise<void>;

/** Content that is to be read either in order by `body`, or, where the place it goes to allows, by `writeParts`. */
export interface PartsContent extends Content {
  /** Whether `writeParts` is worth it. */
  readonly isLarge: boolean;
  /**
   * Fetches the parts in parallel, every byte once, each part going on by itself where it broke off. Where parts cannot be
   * had by themselves, the whole is read in order.
   * @param there what is there already, in order, and is neither fetched nor written. Default nothing.
   * @throws {RelayError} as the body errors.
   */
  writeParts(write: WriteAt, signal?: AbortSignal, there?: readonly Span[]): Promise<void>;
}

/** Whether the content can be fetched in parts. */
export const isPartsContent = (content: Content): content is PartsContent => 'writeParts' in content;

/** Writes only what is not there. */
export function skipping(there: readonly Span[], write: WriteAt): WriteAt {
  if (there.length === 0) return write;
  return async (bytes, offset) => {
    for (const [start, end] of findGaps(there, [offset, offset + bytes.length])) {
      await write(bytes.subarray(start - offset, end - offset), start);
    }
  };
}

/** The SHA-256 member of a `Repr-Digest` field (RFC 9530 §3); undefined without one. */
export function readDigest(field: string | null): string | undefined {
  return field
    ?.split(',')
    .map((member) => member.trim())
    .find((member) => digestSchema.safeParse(member).success);
}

/** The time in an HTTP date or RFC 3339 text; undefined without one. */
export function readTime(text: string | null | undefined): Date | undefined {
  const time = new Date(text ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** The size that a response announces for its body, in bytes; undefined where it is coded or does not say. */
export function readContentLength(headers: Headers): number | undefined {
  const field = headers.get('Content-Length');
  const coding = headers.get('Content-Encoding') ?? 'identity';
  return field === null || coding !== 'identity' || !/^\d+$/.test(field) ? undefined : Number(field);
}
