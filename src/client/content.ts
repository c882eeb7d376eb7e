import { RelayError } from '../protocol/errors.ts';
import { digest as digestSchema } from '../protocol/fields.ts';
import { describe } from './transport.ts';

/** What can be saved or written out: bytes, and what is known about them. */
export interface Content {
  /** Size of the whole in bytes, where it is known. */
  readonly size?: number | undefined;
  /** Time of the dataset's last change, where it is known. */
  readonly lastModified?: Date | undefined;
  /** The bytes in order, to be read once. It errors when they end early, so a body that ended is a whole one. */
  readonly body: ReadableStream<Uint8Array>;
  /** SHA-256 of the whole as `sha-256=:…:`; undefined where there is none. To be called when the body has ended. */
  digest(): Promise<string | undefined>;
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

/** What is known of a body beside its bytes. */
interface BodyGuard {
  readonly signal?: AbortSignal | undefined;
  /** Asks why a body broke off, whose connection can only be cut; undefined where nobody knows. Never rejects. */
  readonly explain?: () => Promise<RelayError | undefined>;
}

/**
 * Passes a response's bytes on as they are read, never ahead of the reader, and errors with transfer_interrupted when they
 * break off or are not as many as `size`. Cancelling it cancels the response.
 */
export function guardBody(
  body: ReadableStream<Uint8Array> | null,
  size: number | undefined,
  { signal, explain }: BodyGuard = {},
): ReadableStream<Uint8Array> {
  const reader = (body ?? new Blob([]).stream()).getReader();
  let received = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) {
            received += value.length;
            controller.enqueue(value);
          } else if (size !== undefined && received !== size) {
            controller.error(interrupted(`it ended after ${received} of ${size} bytes`));
          } else {
            controller.close();
          }
        } catch (cause) {
          const error = interrupted(`after ${received} bytes: ${describe(cause)}`, cause);
          controller.error(signal?.aborted ? signal.reason : ((await explain?.()) ?? error));
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

const interrupted = (why: string, cause?: unknown): RelayError =>
  new RelayError('transfer_interrupted', `the transfer broke off: ${why}`, { cause });
