import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { RelayError } from '../protocol/errors.ts';

const KEY_BYTES = 32;

/** What a signature covers. Nothing before the path: prefix, host and scheme may differ for each who uses the URL. */
export interface SignedParts {
  readonly method: 'PUT' | 'GET';
  /** From `/store/` on, without the query. */
  readonly path: string;
  /** What a browser saves the object as; only in download URLs. */
  readonly filename?: string;
}

/** A path with its signature as query: `PATH?expires=SECONDS&signature=HMAC[&filename=NAME]`. */
export function signPath(key: Buffer, parts: SignedParts, expiresAt: Date): string {
  const expires = String(Math.floor(expiresAt.getTime() / 1000));
  const query = new URLSearchParams({
    expires,
    signature: computeSignature(key, parts, expires),
  });
  if (parts.filename !== undefined) query.set('filename', parts.filename);
  return `${parts.path}?${query}`;
}

/**
 * Checks the signature in a query, in constant time, and then its expiry.
 * @returns the file name that was signed with it, if any.
 * @throws {RelayError} forbidden when it does not fit; url_expired when it did but its time has passed.
 */
export function verifySignature(
  key: Buffer,
  { method, path }: SignedParts,
  query: URLSearchParams,
  now: Date,
): string | undefined {
  const expires = query.get('expires') ?? '';
  const filename = query.get('filename') ?? undefined;
  // As text: several texts decode to the same bytes.
  const given = Buffer.from(query.get('signature') ?? '');
  const expected = Buffer.from(
    computeSignature(key, { method, path, ...(filename !== undefined && { filename }) }, expires),
  );
  if (!/^\d{1,12}$/.test(expires) || given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new RelayError('forbidden', 'the URL is not signed by this router, or was changed');
  }
  if (Number(expires) * 1000 <= now.getTime()) {
    const at = new Date(Number(expires) * 1000).toISOString();
    throw new RelayError('url_expired', `the URL expired at ${at}: ask the router for a new one`);
  }
  return filename;
}

function computeSignature(key: Buffer, { method, path, filename }: SignedParts, expires: string): string {
  // The file name comes last because it alone may contain a line break.
  const lines = filename === undefined ? [method, path, expires] : [method, path, expires, filename];
  return createHmac('sha256', key).update(lines.join('\n')).digest('base64url');
}

/**
 * The key that signs the file store's URLs, kept in `STATE_DIR/store-key` (32 random bytes, mode 0600) so that URLs outlive
 * a restart; made where it is missing. Safe when two processes begin at once: one key wins.
 * @throws {RelayError} store_unavailable when it can neither be read nor made, or is damaged.
 */
export async function loadSigningKey(stateDir: string): Promise<Buffer> {
  const path = join(stateDir, 'store-key');
  try {
    return checkKey(await readFile(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw RelayError.from(error, 'store_unavailable');
  }
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await createKeyFile(path);
    return checkKey(await readFile(path));
  } catch (error) {
    throw RelayError.from(error, 'store_unavailable');
  }
}

async function createKeyFile(path: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(randomBytes(KEY_BYTES));
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    // A link, unlike a rename, does not take the place of a key that another process made meanwhile.
    await link(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
}

function checkKey(key: Buffer): Buffer {
  if (key.length === KEY_BYTES) return key;
  throw new RelayError(
    'store_unavailable',
    `the signing key (store-key in the state directory) has ${key.length} bytes in place of ${KEY_BYTES}: remove it, and URLs that it signed become void`,
  );
}
