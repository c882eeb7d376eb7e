import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { checkTarget, saveTo } from '../../../src/client/save.ts';
import type { SaveOptions } from '../../../src/client/write-out.ts';
import { type Content, RelayClient } from '../../../src/index.ts';
import { digestOf, failureOf, MAC, makeBytes, sendJson, serve, statusOf } from './stub-server.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-save-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const names = async (): Promise<string[]> => (await readdir(directory)).toSorted();

/** Content in pieces; a piece that is an error ends it. */
function contentOf(pieces: readonly (Uint8Array | string | Error)[], more: Partial<Content> = {}): Content {
  const rest = [...pieces];
  return {
    digest: () => Promise.resolve(undefined),
    body: new ReadableStream({
      pull(controller) {
        const piece = rest.shift();
        if (piece === undefined) controller.close();
        else if (piece instanceof Error) controller.error(piece);
        else controller.enqueue(typeof piece === 'string' ? Buffer.from(piece) : piece);
      },
    }),
    ...more,
  };
}

const withDigest = (text: string): Content =>
  contentOf([text], { size: text.length, digest: () => Promise.resolve(digestOf(text)) });

describe('a regular file', () => {
  test.each([0, 1, 65_537, 5_000_001])('appears whole with %d bytes and verified', async (length) => {
    const bytes = makeBytes(length);
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < length; at += 50_000) pieces.push(bytes.subarray(at, at + 50_000));
    const counts: number[] = [];
    const receipt = await saveTo(
      join(directory, 'out'),
      contentOf(pieces, { size: length, digest: () => Promise.resolve(digestOf(bytes)) }),
      { onBytes: (count) => counts.push(count) },
    );
    expect(receipt).toEqual({ size: length, digest: digestOf(bytes), verified: true });
    expect((await readFile(join(directory, 'out'))).equals(bytes)).toBe(true);
    expect(counts.at(-1) ?? 0).toBe(length);
    expect(await names()).toEqual(['out']);
  });

  test.each([true, false])('gives the memory of its pieces back only to whom they belong (%s)', async (ownsBytes) => {
    const bytes = makeBytes(3_000_000);
    const pieces = [bytes.subarray(0, 1_500_000), bytes.subarray(1_500_000)].map((part) => new Uint8Array(part));
    for (const target of ['/dev/null', join(directory, 'out')]) {
      const own = pieces.map((piece) => new Uint8Array(piece));
      const digest = (): Promise<string> => Promise.resolve(digestOf(bytes));
      const receipt = await saveTo(target, contentOf(own, { size: bytes.length, digest }), { ownsBytes });
      expect(receipt.verified).toBe(true);
      expect(own.map(({ length }) => length)).toEqual(ownsBytes ? [0, 0] : [1_500_000, 1_500_000]);
    }
    expect((await readFile(join(directory, 'out'))).equals(bytes)).toBe(true);
  });

  test("has the dataset's time of change, and the mode that the umask gives", async () => {
    const lastModified = new Date('2020-02-03T04:05:06Z');
    await saveTo(join(directory, 'out'), contentOf(['abc'], { lastModified }));
    const found = await stat(join(directory, 'out'));
    expect(found.mtime).toEqual(lastModified);
    expect(found.mode & 0o777).toBe(0o666 & ~process.umask());
  });

  test('takes the place of another and keeps its mode', async () => {
    await writeFile(join(directory, 'out'), 'old');
    await chmod(join(directory, 'out'), 0o600);
    await saveTo(join(directory, 'out'), withDigest('new'));
    expect(await readFile(join(directory, 'out'), 'utf8')).toBe('new');
    expect((await stat(join(directory, 'out'))).mode & 0o777).toBe(0o600);
  });

  test('is not there before it is complete, and its temporary file is private to no more than the target was', async () => {
    await writeFile(join(directory, 'out'), 'old');
    await chmod(join(directory, 'out'), 0o600);
    let seen: string[] = [];
    const digest = async (): Promise<string> => {
      seen = await names();
      expect((await stat(join(directory, seen[0] ?? ''))).mode & 0o077).toBe(0);
      expect(await readFile(join(directory, 'out'), 'utf8')).toBe('old');
      return digestOf('new');
    };
    await saveTo(join(directory, 'out'), contentOf(['new'], { digest }));
    expect(seen).toEqual([expect.stringMatching(/^\.out\.relay-[0-9a-f]{12}\.part$/), 'out']);
    expect(await names()).toEqual(['out']);
  });

  test('may have a name that is as long as names can be', async () => {
    const name = 'é'.repeat(127);
    await saveTo(join(directory, name), withDigest('abc'));
    expect(await names()).toEqual([name]);
  });

  test('is replaced behind a symbolic link, which stays', async () => {
    await mkdir(join(directory, 'real'));
    await writeFile(join(directory, 'real/target'), 'old');
    await symlink('real/target', join(directory, 'link'));
    await symlink('link', join(directory, 'link-to-link'));
    await saveTo(join(directory, 'link-to-link'), withDigest('new'));
    expect(await readlink(join(directory, 'link-to-link'))).toBe('link');
    expect(await readlink(join(directory, 'link'))).toBe('real/target');
    expect((await lstat(join(directory, 'real/target'))).isFile()).toBe(true);
    expect(await readFile(join(directory, 'real/target'), 'utf8')).toBe('new');
    expect(await readdir(join(directory, 'real'))).toEqual(['target']);
  });

  test('is made where a dangling link points to', async () => {
    await symlink('not-yet', join(directory, 'link'));
    await saveTo(join(directory, 'link'), withDigest('new'));
    expect(await readFile(join(directory, 'not-yet'), 'utf8')).toBe('new');
    expect(await readlink(join(directory, 'link'))).toBe('not-yet');
  });

  test('is one or the other, never a mixture, when two are saved at once', async () => {
    const [one, two] = [makeBytes(3_000_000), makeBytes(3_000_001).subarray(1)];
    const save = (bytes: Buffer): Promise<unknown> =>
      saveTo(join(directory, 'out'), contentOf([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)]));
    await Promise.all([save(one), save(two), save(one), save(two)]);
    const found = await readFile(join(directory, 'out'));
    expect(found.equals(one) || found.equals(two)).toBe(true);
    expect(await names()).toEqual(['out']);
  });
});

/** Saves over an old file, and sees that it alone is there afterwards. @returns what saving fails with. */
async function failOverOld(content: Content, options: SaveOptions = {}): ReturnType<typeof failureOf> {
  await writeFile(join(directory, 'out'), 'old');
  const error = await failureOf(saveTo(join(directory, 'out'), content, options));
  expect(await names()).toEqual(['out']);
  expect(await readFile(join(directory, 'out'), 'utf8')).toBe('old');
  return error;
}

describe('nothing is left behind, and what was there stays,', () => {
  test('when the digest differs', async () => {
    const content = contentOf(['new'], { digest: () => Promise.resolve(digestOf('other')) });
    expect(await failOverOld(content)).toMatchObject({ code: 'content_mismatch', exitCode: 7 });
  });

  test('when the size differs', async () => {
    expect(await failOverOld(contentOf(['new'], { size: 4 }))).toMatchObject({ code: 'content_mismatch' });
  });

  test('when a digest is required and there is none', async () => {
    const failure = failOverOld(contentOf(['new']), { requireDigest: true });
    expect(await failure).toMatchObject({ code: 'unverified', exitCode: 7 });
  });

  test('when the transfer breaks off', async () => {
    await using relay = await serve((_, response) => {
      response.writeHead(200, { 'Content-Length': 100_000 });
      response.write(makeBytes(50_000), () => response.socket?.resetAndDestroy());
    });
    const content = await new RelayClient({ baseUrl: relay.url }).requestStream(MAC, 'a');
    expect(await failOverOld(content)).toMatchObject({ code: 'transfer_interrupted' });
  });

  test('when it ends before the size that was promised', async () => {
    await using relay = await serve((_, response) => {
      response.writeHead(200, { 'Relay-Total-Size': 10 }).end('abc');
    });
    const content = await new RelayClient({ baseUrl: relay.url }).requestStream(MAC, 'a');
    expect(await failOverOld(content)).toMatchObject({ code: 'transfer_interrupted' });
  });

  test('when the request turns out to have failed after its last byte', async () => {
    await using relay = await serve(({ method }, response) => {
      if (method === 'POST') response.end('abc');
      else sendJson(response, 200, statusOf('failed', { error: { code: 'dataset_changed', retryable: true } }));
    });
    const content = await new RelayClient({ baseUrl: relay.url }).requestStream(MAC, 'a');
    expect(await failOverOld(content)).toMatchObject({ code: 'dataset_changed' });
  });

  test('when the signal fires, and the sender is let go', async () => {
    const closed = Promise.withResolvers<void>();
    await using relay = await serve((_, response) => {
      response.on('close', closed.resolve);
      response.write('abc');
    });
    const stop = new AbortController();
    const content = await new RelayClient({ baseUrl: relay.url }).requestStream(MAC, 'a', { signal: stop.signal });
    const reason = new Error('enough');
    const failure = failOverOld(content, { signal: stop.signal, onBytes: () => stop.abort(reason) });
    expect(await failure).toBe(reason);
    await closed.promise;
  });
});

describe('a target that cannot be written', () => {
  test.each([
    ['no/such/file', 'does not exist'],
    ['.', 'is a directory'],
    ['file/below', 'no directory'],
    ['x'.repeat(300), 'too long'],
  ])('is refused in plain words, and the body let go: %s', async (name, words) => {
    await writeFile(join(directory, 'file'), '');
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      cancel: () => {
        cancelled = true;
      },
    });
    const error = await failureOf(saveTo(join(directory, name), { body, digest: () => Promise.resolve(undefined) }));
    expect(error).toMatchObject({ code: 'output_failed', exitCode: 9 });
    expect(error.message).toContain(words);
    expect(cancelled).toBe(true);
    expect(await failureOf(checkTarget(join(directory, name)))).toMatchObject({ code: 'output_failed' });
  });

  test('is none where everything is well, and tells what is written directly', async () => {
    await expect(checkTarget(join(directory, 'out'))).resolves.toEqual({ isSpecial: false });
    await expect(checkTarget('/dev/null')).resolves.toEqual({ isSpecial: true });
  });

  test('is a loop of links', async () => {
    await symlink('b', join(directory, 'a'));
    await symlink('a', join(directory, 'b'));
    expect((await failureOf(saveTo(join(directory, 'a'), withDigest('x')))).message).toContain('symbolic links');
  });
});

describe('what is no regular file', () => {
  test('is written directly: /dev/null', async () => {
    const before = await stat('/dev/null');
    expect(await saveTo('/dev/null', withDigest('abc'))).toMatchObject({ verified: true });
    expect((await stat('/dev/null')).rdev).toBe(before.rdev);
  });

  test('may be full: /dev/full', async () => {
    const error = await failureOf(saveTo('/dev/full', withDigest('abc')));
    expect(error).toMatchObject({ code: 'output_failed', exitCode: 9 });
    expect(error.message).toContain('no space');
    const large = await failureOf(saveTo('/dev/full', contentOf([makeBytes(5_000_000), 'x'])));
    expect(large).toMatchObject({ code: 'output_failed' });
  });

  test('is a FIFO, written as fast as it is read', async () => {
    const fifo = join(directory, 'fifo');
    await promisify(execFile)('mkfifo', [fifo]);
    const bytes = makeBytes(1_000_000);
    const [found] = await Promise.all([
      readFile(fifo),
      saveTo(fifo, contentOf([bytes], { digest: () => Promise.resolve(digestOf(bytes)) })),
    ]);
    expect(found.equals(bytes)).toBe(true);
    expect((await lstat(fifo)).isFIFO()).toBe(true);
  });

  test('is a FIFO that nobody reads, and the signal fires', async () => {
    const fifo = join(directory, 'fifo');
    await promisify(execFile)('mkfifo', [fifo]);
    const failure = failureOf(saveTo(fifo, withDigest('abc'), { signal: AbortSignal.timeout(100) }));
    expect((await failure).name).toBe('TimeoutError');
  });

  test('is a FIFO whose reader stalls, and the signal fires', async () => {
    const fifo = join(directory, 'fifo');
    await promisify(execFile)('mkfifo', [fifo]);
    const stop = new AbortController();
    const content = contentOf([makeBytes(1_000_000), makeBytes(1_000_000)]);
    const failure = failureOf(
      saveTo(fifo, content, { signal: stop.signal, onBytes: () => stop.abort(new Error('enough')) }),
    );
    const reader = await open(fifo);
    expect((await failure).message).toBe('enough');
    await reader.close();
  });

  test('is a FIFO whose reader goes away', async () => {
    const fifo = join(directory, 'fifo');
    await promisify(execFile)('mkfifo', [fifo]);
    const failure = failureOf(saveTo(fifo, contentOf([makeBytes(1_000_000), makeBytes(1_000_000)])));
    const reader = await open(fifo);
    await reader.read(Buffer.alloc(10), 0, 10);
    await reader.close();
    expect(await failure).toMatchObject({ code: 'output_failed' });
  });

  test('is a file that is open in this process, to which it is appended', async () => {
    const handle = await open(join(directory, 'log'), 'a');
    await handle.write('before ');
    await saveTo(`/proc/self/fd/${handle.fd}`, withDigest('abc'));
    await handle.write(' after');
    await handle.close();
    expect(await readFile(join(directory, 'log'), 'utf8')).toBe('before abc after');
    expect(await names()).toEqual(['log']);
  });
});

test('a process that exits in the middle leaves no temporary file', async () => {
  const script = `
    import { saveTo } from ${JSON.stringify(new URL('../../../src/client/save.ts', import.meta.url).href)};
    const body = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1000)) });
    saveTo(process.argv[1], { body, digest: async () => undefined }, {
      onBytes: (count) => { if (count > 5_000_000) { process.stdout.write('begun'); process.exit(3); } },
    });`;
  const child = execFile(process.execPath, ['--input-type=module', '-e', script, join(directory, 'out')]);
  const [code] = (await once(child, 'close')) as [number];
  expect(code).toBe(3);
  expect(await names()).toEqual([]);
});
