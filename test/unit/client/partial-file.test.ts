import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, link, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { saveTo, type SaveToOptions } from '../../../src/files.ts';
import { type Content, downloadOffloaded, type Known, RelayClient, RelayError } from '../../../src/index.ts';
import { digestOf, failureOf, MAC, makeBytes, sendProblem, serve, statusOf, sendJson } from './stub-server.ts';

let directory: string;
let target: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'relay-partial-'));
  target = join(directory, 'out');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const names = async (): Promise<string[]> => (await readdir(directory)).toSorted();
const LEFT = ['.out.relay-part', '.out.relay-part.json'];
const FROM = 'http://router/connectors/cc-28-aa-01-02-03/datasets/a';
const bytes = makeBytes(3_000_000);
const broken = new RelayError('transfer_interrupted', 'it broke off');

/** A dataset that gives what is missing of it, and breaks off at `until`. What was asked for is in `asked`. */
function source(until = bytes.length, { etag = '"v1"', whole = bytes } = {}) {
  const asked: (Known | undefined)[] = [];
  const open = async (known?: Known): Promise<Content> => {
    asked.push(known);
    let at = known?.etag === etag && known.size === whole.length ? known.offset : 0;
    return {
      etag,
      size: whole.length,
      offset: at,
      digest: () => Promise.resolve(digestOf(whole)),
      body: new ReadableStream({
        pull(controller) {
          const end = Math.min(at + 100_000, until);
          if (at < end) controller.enqueue(whole.subarray(at, end));
          else if (at < whole.length) controller.error(broken);
          else controller.close();
          at = end;
        },
      }),
    };
  };
  return { open, asked };
}

/** Options with what was said. */
function options(more: Partial<NonNullable<SaveToOptions['resume']>> = {}) {
  const said: unknown[] = [];
  const resume = {
    from: FROM,
    onResume: (there: number, size: number) => said.push(['resume', there, size]),
    onStartOver: (reason: string) => said.push(['over', reason]),
    onKept: (there: number, size: number) => said.push(['kept', there, size]),
    ...more,
  };
  return { said, options: { resume } };
}

/** Leaves the first `until` bytes. */
async function leave(until: number): Promise<void> {
  const { said, options: how } = options();
  expect(await failureOf(saveTo(target, source(until).open, how))).toBe(broken);
  expect(said).toEqual([['kept', until, bytes.length]]);
  expect(await names()).toEqual(LEFT);
}

const expectWhole = async (): Promise<void> => {
  expect((await readFile(target)).equals(bytes)).toBe(true);
  expect(await names()).toEqual(['out']);
};

describe('what broke off', () => {
  test.each([1, 1_234_567, 2_999_999, 3_000_000])(
    'is gone on with after %d bytes, and verified as a whole',
    async (until) => {
      if (until < bytes.length) await leave(until);
      else {
        const { options: how } = options();
        const open = async (): Promise<Content> => ({
          ...(await source().open()),
          digest: () => Promise.reject(broken),
        });
        expect(await failureOf(saveTo(target, open, how))).toBe(broken);
      }
      const second = source();
      const { said, options: how } = options();
      const receipt = await saveTo(target, second.open, how);
      expect(receipt).toEqual({ size: bytes.length, digest: digestOf(bytes), verified: true });
      expect(second.asked).toEqual([{ etag: '"v1"', size: bytes.length, offset: Math.min(until, bytes.length - 1) }]);
      expect(said).toEqual([['resume', until, bytes.length]]);
      await expectWhole();
    },
  );

  test('grows from run to run, also where one gets nothing at all', async () => {
    await leave(1_000_000);
    const offline = new RelayError('connector_offline');
    const away = options();
    expect(await failureOf(saveTo(target, () => Promise.reject(offline), away.options))).toBe(offline);
    expect(away.said).toEqual([
      ['resume', 1_000_000, bytes.length],
      ['kept', 1_000_000, bytes.length],
    ]);
    const next = options();
    expect(await failureOf(saveTo(target, source(2_000_000).open, next.options))).toBe(broken);
    expect(next.said.at(-1)).toEqual(['kept', 2_000_000, bytes.length]);
    const last = source();
    await saveTo(target, last.open, options().options);
    expect(last.asked).toMatchObject([{ offset: 2_000_000 }]);
    await expectWhole();
  });

  test('is left as it is where the dataset is another by now, until it is told to start over', async () => {
    await leave(1_000_000);
    const other = makeBytes(2_000_001).subarray(1);
    const { open } = source(other.length, { etag: '"v2"', whole: other });
    for (let times = 0; times < 2; times += 1) {
      const { said, options: how } = options();
      expect(await failureOf(saveTo(target, open, how))).toMatchObject({ code: 'dataset_changed', retryable: false });
      expect(said).toEqual([
        ['resume', 1_000_000, bytes.length],
        ['kept', 1_000_000, bytes.length],
      ]);
      expect(await names()).toEqual(LEFT);
    }
    await saveTo(target, open, options({ startOver: true }).options);
    expect((await readFile(target)).equals(other)).toBe(true);
    expect(await names()).toEqual(['out']);
  });

  test('is not gone on with for another dataset, nor where that is not wanted', async () => {
    await leave(1_000_000);
    const other = options({ from: `${FROM}2` });
    expect(await failureOf(saveTo(target, source(500_000).open, other.options))).toBe(broken);
    expect(other.said[0]).toEqual(['over', 'the partial file that is there is of another dataset']);
    const anew = source();
    await saveTo(target, anew.open, options({ from: `${FROM}2`, startOver: true }).options);
    expect(anew.asked).toEqual([undefined]);
    await expectWhole();
  });

  test('is begun anew after seven days', async () => {
    await leave(1_000_000);
    const old = new Date(Date.now() - 8 * 24 * 3_600_000);
    await utimes(join(directory, LEFT[0] as string), old, old);
    const second = source();
    await saveTo(target, second.open, options().options);
    expect(second.asked).toEqual([undefined]);
    await expectWhole();
  });

  test('is refused as a whole, and gone, where somebody wrote into it', async () => {
    await leave(1_000_000);
    const path = join(directory, LEFT[0] as string);
    const content = await readFile(path);
    content[5] = (content[5] ?? 0) ^ 1;
    await writeFile(path, content);
    expect(await failureOf(saveTo(target, source().open, options().options))).toMatchObject({
      code: 'content_mismatch',
    });
    expect(await names()).toEqual([]);
  });

  test.each(['', '{', '{"from":1}', '{"from":"a","etag":"b","size":3,"spans":[[5,2]]}'])(
    'is begun anew with the sidecar %j',
    async (text) => {
      await leave(1_000_000);
      await writeFile(join(directory, LEFT[1] as string), text);
      const second = source();
      await saveTo(target, second.open, options().options);
      expect(second.asked).toEqual([undefined]);
      await expectWhole();
    },
  );

  test('is the property of one run at a time; the others have files of their own', async () => {
    await leave(1_000_000);
    const sources = [source(), source(), source()];
    await Promise.all(sources.map(({ open }) => saveTo(target, open, options().options)));
    expect(sources.flatMap(({ asked }) => asked).filter((known) => known !== undefined)).toHaveLength(1);
    await expectWhole();
  });

  test('is not left where nothing has come, the content is wrong, or has no entity tag', async () => {
    expect(await failureOf(saveTo(target, source(0).open, options().options))).toBe(broken);
    expect(await names()).toEqual([]);
    const changed = new RelayError('dataset_changed');
    const lies = async (): Promise<Content> => ({ ...(await source().open()), digest: () => Promise.reject(changed) });
    expect(await failureOf(saveTo(target, lies, options().options))).toBe(changed);
    expect(await names()).toEqual([]);
    const untagged = async (): Promise<Content> => ({ ...(await source(5).open()), etag: undefined });
    expect(await failureOf(saveTo(target, untagged, options().options))).toBe(broken);
    expect(await names()).toEqual([]);
  });

  test('is left alone where it is not plainly ours', async () => {
    await writeFile(join(directory, 'other'), 'precious');
    await symlink('other', join(directory, LEFT[0] as string));
    await saveTo(target, source().open, options().options);
    expect(await readFile(join(directory, 'other'), 'utf8')).toBe('precious');
    await rm(join(directory, LEFT[0] as string));
    await link(join(directory, 'other'), join(directory, LEFT[0] as string));
    await saveTo(target, source().open, options().options);
    expect(await readFile(join(directory, 'other'), 'utf8')).toBe('precious');
    expect((await readFile(target)).equals(bytes)).toBe(true);
  });

  test('is as private as what it will replace', async () => {
    await writeFile(target, 'old');
    await chmod(target, 0o600);
    expect(await failureOf(saveTo(target, source(1_000_000).open, options().options))).toBe(broken);
    expect((await stat(join(directory, LEFT[0] as string))).mode & 0o077).toBe(0);
    await saveTo(target, source().open, options().options);
    expect((await stat(target)).mode & 0o777).toBe(0o600);
  });

  test.each(['x'.repeat(255), 'é'.repeat(120)])('may have a long name: %s', async (name) => {
    const long = join(directory, name);
    expect(await failureOf(saveTo(long, source(1_000_000).open, options().options))).toBe(broken);
    const second = source();
    await saveTo(long, second.open, options().options);
    expect(second.asked).toMatchObject([{ offset: 1_000_000 }]);
    expect(await names()).toEqual([name]);
  });
});

test('what a killed process has left is taken over', async () => {
  const script = `
    import { saveTo } from ${JSON.stringify(new URL('../../../src/files.ts', import.meta.url).href)};
    const open = async () => ({
      etag: '"v1"', size: 3_000_000, digest: async () => undefined,
      body: new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(10_000)) }),
    });
    saveTo(process.argv[1], open, {
      resume: { from: ${JSON.stringify(FROM)} },
      onBytes: (count) => { if (count === 2_500_000) process.kill(process.pid, 'SIGKILL'); },
    });`;
  const child = execFile(process.execPath, ['--input-type=module', '-e', script, target]);
  const [, signal] = (await once(child, 'close')) as [number, string];
  expect(signal).toBe('SIGKILL');
  expect(await names()).toEqual([...LEFT, '.out.relay-part.lock']);
  const zeros = source(bytes.length, { whole: Buffer.alloc(3_000_000) });
  await saveTo(target, zeros.open, options().options);
  expect(zeros.asked[0]?.offset).toBeGreaterThanOrEqual(1_000_000);
  expect(await names()).toEqual(['out']);
});

describe('from a store, in parts,', () => {
  /** A store whose answers end after `budget` bytes in all; what it was asked for is in `ranges`. */
  const serveStore = async (budget: number) => {
    const ranges: [number, number][] = [];
    const state = { budget, ranges };
    const server = await serve(({ headers }, response) => {
      const [, from = '0', to = ''] = /bytes=(\d+)-(\d*)/.exec(headers.range ?? '') ?? [];
      const [start, end] = [Number(from), to === '' ? bytes.length : Number(to) + 1];
      ranges.push([start, end]);
      if (state.budget < end - start) {
        response.writeHead(503).end();
        return;
      }
      state.budget -= end - start;
      response.writeHead(206, {
        'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}`,
        'Content-Length': end - start,
        ETag: '"o"',
      });
      response.end(bytes.subarray(start, end));
    });
    return Object.assign(server, state, { refill: () => (state.budget = Number.POSITIVE_INFINITY) });
  };
  const answerOf = (url: string) =>
    ({ status: 'success', download_url: url, size: bytes.length, etag: '"v1"', digest: digestOf(bytes) }) as const;
  const parts = { largeBytes: 1, partBytes: 250_000, parallel: 3, maxFailures: 0 };

  test('fetches only the parts that are missing, and verifies the whole', async () => {
    await using store = await serveStore(1_600_000);
    const get = (known?: Known) => Promise.resolve(downloadOffloaded(answerOf(store.url), { ...parts, known }));
    const first = options();
    await failureOf(saveTo(target, get, first.options));
    const [[, kept]] = first.said as [[string, number]];
    expect(kept).toBeGreaterThan(1_000_000);
    store.refill();
    store.ranges.length = 0;
    expect(await saveTo(target, get, options().options)).toMatchObject({ verified: true });
    expect(store.ranges.reduce((sum, [start, end]) => sum + end - start, 0)).toBe(bytes.length - kept);
    await expectWhole();
  });

  test('goes on in order with what came in parts, and the other way round', async () => {
    await using store = await serveStore(1_600_000);
    const get = (known?: Known) => Promise.resolve(downloadOffloaded(answerOf(store.url), { ...parts, known }));
    await failureOf(saveTo(target, get, options().options));
    const inOrder = source(2_900_000);
    expect(await failureOf(saveTo(target, inOrder.open, options().options))).toBe(broken);
    expect(inOrder.asked[0]?.offset).toBeGreaterThan(0);
    store.refill();
    store.ranges.length = 0;
    await saveTo(target, get, options().options);
    expect(store.ranges).toEqual([[2_900_000, bytes.length]]);
    await expectWhole();
  });
});

describe('a stream of a router', () => {
  test('is asked for its rest, and begun anew only when told so where it is another by now', async () => {
    let etag = '"v1"';
    await using relay = await serve(({ method, url, headers }, response) => {
      if (url.startsWith('/requests')) return sendJson(response, 200, statusOf('done', { digest: digestOf(bytes) }));
      if (url === '/datasets/request-digest')
        return sendJson(response, 200, { size: bytes.length, etag, digest: digestOf(bytes) });
      if (method === 'POST') {
        response.writeHead(200, { 'Content-Length': bytes.length, ETag: etag });
        return void response.end(bytes);
      }
      if (headers['if-match'] !== etag) return sendProblem(response, 412, 'precondition_failed');
      const start = Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1]);
      response.writeHead(206, {
        'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
        ETag: etag,
      });
      response.end(bytes.subarray(start));
    });
    const client = new RelayClient({ baseUrl: relay.url });
    const open = (known?: Known) => client.requestStream(MAC, 'a', { known });
    const save = (more = {}) => saveTo(target, open, options({ from: client.datasetUrl(MAC, 'a'), ...more }).options);
    const leaveSome = () =>
      saveTo(target, source(1_000_000).open, options({ from: client.datasetUrl(MAC, 'a') }).options).catch(
        () => undefined,
      );
    await leaveSome();
    expect(await save()).toMatchObject({ verified: true });
    expect(relay.seen.map(({ method, url }) => [method, url])).toEqual([
      ['GET', `/connectors/${MAC}/datasets/a`],
      ['POST', '/datasets/request-digest'],
    ]);
    await expectWhole();
    await leaveSome();
    etag = '"v2"';
    relay.seen.length = 0;
    expect(await failureOf(save())).toMatchObject({ code: 'dataset_changed' });
    expect(relay.seen[0]).toMatchObject({ method: 'GET', url: `/connectors/${MAC}/datasets/a` });
    expect(await names()).toEqual([...LEFT, 'out']);
    relay.seen.length = 0;
    expect(await save({ startOver: true })).toMatchObject({ verified: true });
    expect(relay.seen[0]).toMatchObject({ method: 'POST', url: '/datasets/request-stream' });
    await expectWhole();
  });
});
