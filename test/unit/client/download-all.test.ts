import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { downloadAll, downloadFleet } from '../../../src/client/download-all.ts';
import type { DownloadOptions, DownloadResult, DownloadSummary } from '../../../src/client/download-types.ts';
import { RelayClient } from '../../../src/index.ts';
import { digestOf, failureOf, MAC, sendJson, sendProblem, serve, statusOf } from './stub-server.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'relay-all-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const MTIME = '2026-01-31T12:00:00.500Z';

interface Scene {
  /** Content by name; null for one that is listed and not there any more. */
  readonly files: Record<string, string | null>;
  /** Whether a stream of it breaks off, so that only the store has it. */
  readonly broken?: boolean;
  /** Of all of them; null for none. */
  readonly etag?: string | null;
  readonly mtime?: string | null;
}

/** A router with one connector that offers these. */
const serveFiles = ({ files, broken = false, etag = '"v"', mtime = MTIME }: Scene) =>
  serve(({ url, body, headers }, response) => {
    if (/^\/connectors\/[^/]+\/datasets/.test(url)) {
      const datasets = Object.entries(files).map(([name, text]) => ({
        name,
        size: text?.length ?? 1,
        ...(mtime !== null && { mtime }),
        ...(etag !== null && { etag }),
      }));
      return sendJson(response, 200, { datasets });
    }
    if (url.startsWith('/requests/')) return sendJson(response, 200, statusOf('done', { digest: null }));
    const { dataset = 'object' } = body === '' ? {} : (JSON.parse(body) as { dataset: string });
    const text = files[dataset] ?? Object.values(files)[0] ?? '';
    const digest = digestOf(text);
    if (url === '/datasets/request-digest') return sendJson(response, 200, { size: text.length, digest });
    if (url === '/datasets/request-offload') {
      return sendJson(response, 200, {
        status: 'success',
        download_url: `http://${headers.host}/object`,
        size: text.length,
        ...(etag !== null && { etag }),
        digest,
      });
    }
    if (files[dataset] === null) return sendProblem(response, 404, 'dataset_not_found');
    if (broken && url === '/datasets/request-stream') return sendProblem(response, 502, 'connector_failed');
    response.writeHead(200, {
      'Content-Length': text.length,
      ...(etag !== null && { ETag: etag }),
      ...(mtime !== null && { 'Last-Modified': new Date(mtime).toUTCString() }),
      'Repr-Digest': digest,
    });
    response.end(text);
  });

async function download(
  scene: Scene,
  options: DownloadOptions = {},
): Promise<{ summary: DownloadSummary; results: DownloadResult[]; asked: string[] }> {
  await using relay = await serveFiles(scene);
  const results: DownloadResult[] = [];
  const client = new RelayClient({ baseUrl: relay.url });
  const summary = await downloadAll(client, MAC, join(root, 'out'), {
    retries: 0,
    onResult: (result) => void results.push(result),
    ...options,
  });
  return { summary, results, asked: relay.seen.filter(({ method }) => method === 'POST').map(({ url }) => url) };
}

const tree = async (): Promise<string[]> =>
  (await readdir(join(root, 'out'), { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 5))
    .filter((name) => name !== '.relay-index')
    .toSorted();

describe('many datasets', () => {
  test('come under their names with their time, and only what changed comes again', async () => {
    const files = { 'a.csv': 'aa', 'b/c.csv': 'cc', '.d/e.txt': 'ee' };
    const first = await download({ files }, { glob: '**/*.csv' });
    expect(first.summary).toEqual({ fetched: 2, present: 0, planned: 0, skipped: 0, failed: 0, bytes: 4 });
    expect(await tree()).toEqual(['a.csv', 'b/c.csv']);
    expect(await readFile(join(root, 'out/b/c.csv'), 'utf8')).toBe('cc');
    expect((await stat(join(root, 'out/a.csv'))).mtimeMs).toBeCloseTo(Date.parse(MTIME), -1);
    expect(first.results.find(({ dataset }) => dataset === 'a.csv')).toMatchObject({
      mac: MAC,
      dataset: 'a.csv',
      outcome: 'fetched',
      size: 2,
      etag: '"v"',
      digest: digestOf('aa'),
      pattern: 'stream',
      attempts: 1,
    });

    await writeFile(join(root, 'out/a.csv'), 'zz');
    const second = await download({ files });
    expect(second.summary).toMatchObject({ fetched: 2, present: 1 });
    expect(second.asked).toEqual(['/datasets/request-stream', '/datasets/request-stream']);
    expect(await readFile(join(root, 'out/a.csv'), 'utf8')).toBe('aa');
  });

  test('that have changed since an earlier run left some of them are begun anew', async () => {
    const old = 'o'.repeat(300_000);
    const stop = new AbortController();
    await using relay = await serve(({ url }, response) => {
      if (url.startsWith('/connectors/')) {
        return sendJson(response, 200, { datasets: [{ name: 'a.csv', size: old.length, etag: '"old"' }] });
      }
      response.writeHead(200, { 'Content-Length': old.length, ETag: '"old"' });
      return void response.write(old.slice(1));
    });
    const first = downloadAll(new RelayClient({ baseUrl: relay.url }), MAC, join(root, 'out'), {
      signal: stop.signal,
      onBytes: () => stop.abort(new Error('enough')),
    });
    expect((await failureOf(first)).message).toBe('enough');
    expect(await tree()).toContain('.a.csv.relay-part');
    const changed = 'n'.repeat(300_000);
    await using router = await serve(({ url, headers }, response) => {
      if (url.startsWith('/connectors/') && headers['if-match'] === undefined) {
        return sendJson(response, 200, { datasets: [{ name: 'a.csv', size: changed.length, etag: '"new"' }] });
      }
      if (headers['if-match'] === '"old"') return sendProblem(response, 412, 'precondition_failed');
      const digest = digestOf(changed);
      response.writeHead(200, { 'Content-Length': changed.length, ETag: '"new"', 'Repr-Digest': digest });
      return void response.end(changed);
    });
    const results: DownloadResult[] = [];
    // The same router to the client: what was left is of its dataset.
    const client = new RelayClient({
      baseUrl: relay.url,
      fetch: (input, init) => fetch(String(input).replace(relay.url, router.url), init),
    });
    await downloadAll(client, MAC, join(root, 'out'), { retries: 0, onResult: (result) => void results.push(result) });
    expect(results).toMatchObject([{ outcome: 'fetched', size: 300_000 }]);
    expect(await tree()).toEqual(['a.csv']);
  });

  test('are compared by SHA-256 where that is wanted', async () => {
    await mkdir(join(root, 'out'));
    await writeFile(join(root, 'out/same.csv'), 'aa');
    await writeFile(join(root, 'out/other.csv'), 'zz');
    const { results } = await download({ files: { 'same.csv': 'aa', 'other.csv': 'aa' } }, { checksum: true });
    expect(Object.fromEntries(results.map(({ dataset, outcome }) => [dataset, outcome]))).toEqual({
      'same.csv': 'present',
      'other.csv': 'fetched',
    });
  });

  test('that are the same by SHA-256 get their time, so that the next run need not read them', async () => {
    await mkdir(join(root, 'out'));
    await writeFile(join(root, 'out/a.csv'), 'aa');
    const before = (await stat(join(root, 'out/a.csv'))).mtimeMs;
    const scene = { files: { 'a.csv': 'aa' }, etag: null };
    expect((await download(scene, { checksum: true, dryRun: true })).summary).toMatchObject({ present: 1 });
    expect((await stat(join(root, 'out/a.csv'))).mtimeMs).toBe(before);
    expect((await download(scene, { checksum: true })).summary).toMatchObject({ present: 1 });
    expect((await stat(join(root, 'out/a.csv'))).mtimeMs).toBeCloseTo(Date.parse(MTIME), -1);
    expect((await download(scene)).summary).toMatchObject({ present: 1 });
  });

  test('are only looked at in a dry run', async () => {
    const { summary, asked } = await download({ files: { 'a.csv': 'aa', 'b/c': 'cc' } }, { dryRun: true });
    expect([summary.planned, summary.bytes, asked]).toEqual([2, 4, []]);
    expect(await readdir(root)).toEqual([]);
  });

  test('that fail are told, and keep none of the others', async () => {
    const { summary, results } = await download({ files: { 'a.csv': null, 'b.csv': 'bb' } });
    expect(summary).toMatchObject({ fetched: 1, failed: 1 });
    expect(results.find(({ outcome }) => outcome === 'failed')).toMatchObject({
      dataset: 'a.csv',
      attempts: 1,
      error: { code: 'dataset_not_found' },
    });
  });

  test('come by the store where a stream cannot go on', async () => {
    const { results, asked } = await download({ files: { 'a.csv': 'aa' }, broken: true });
    expect(results).toMatchObject([{ outcome: 'fetched', pattern: 'offload', attempts: 2 }]);
    expect(asked).toEqual(['/datasets/request-stream', '/datasets/request-offload']);
  });

  test('end with the reason of the signal, and leave nothing half written', async () => {
    const stop = new AbortController();
    const reason = new Error('enough');
    const work = download(
      { files: { 'a.csv': 'aa', 'b.csv': 'bb' } },
      { signal: stop.signal, parallel: 1, onStart: () => stop.abort(reason) },
    );
    expect(await failureOf(work)).toBe(reason);
    expect(await tree()).toEqual([]);
  });
});

describe('the ETag of a file', () => {
  const A = { files: { 'a.csv': 'aa' } };
  const outcomes = async (scene: Scene, options?: DownloadOptions): Promise<string[]> =>
    (await download(scene, options)).results.map(({ outcome }) => outcome);
  const index = (): string => join(root, 'out/.relay-index');

  test('tells of a change that left size and time as they were', async () => {
    expect(await outcomes(A)).toEqual(['fetched']);
    expect(await outcomes(A)).toEqual(['present']);
    expect(await outcomes({ files: { 'a.csv': 'bb' }, etag: '"w"' })).toEqual(['fetched']);
    expect(await readFile(join(root, 'out/a.csv'), 'utf8')).toBe('bb');
    expect(await outcomes({ files: { 'a.csv': 'bb' }, etag: '"w"' })).toEqual(['present']);
  });

  test('tells of a change again where the run that saw it was interrupted', async () => {
    await outcomes(A);
    const changed = { files: { 'a.csv': 'bb' }, etag: '"w"' };
    const stop = new AbortController();
    await failureOf(outcomes(changed, { signal: stop.signal, onStart: () => stop.abort(new Error('enough')) }));
    expect(await readFile(join(root, 'out/a.csv'), 'utf8')).toBe('aa');
    expect(await outcomes(changed)).toEqual(['fetched']);
  });

  test('keeps what has no time in the listing from being fetched each night', async () => {
    expect(await outcomes({ ...A, mtime: null })).toEqual(['fetched']);
    expect(await outcomes({ ...A, mtime: null })).toEqual(['present']);
    expect(await outcomes({ ...A, mtime: null, etag: null })).toEqual(['fetched']);
  });

  test('counts only while the file is what it was', async () => {
    await outcomes({ ...A, mtime: null });
    await writeFile(join(root, 'out/a.csv'), 'zz');
    expect(await outcomes({ ...A, mtime: null })).toEqual(['fetched']);
    await writeFile(join(root, 'out/a.csv'), 'zzz');
    expect(await outcomes({ ...A, mtime: null })).toEqual(['fetched']);
  });

  test('counts for its own connector and size alone', async () => {
    await outcomes({ ...A, mtime: null });
    await using relay = await serveFiles({ ...A, mtime: null });
    const client = new RelayClient({ baseUrl: relay.url });
    const other = await downloadAll(client, 'cc-28-aa-01-02-04', join(root, 'out'), { retries: 0 });
    expect(other).toMatchObject({ fetched: 1 });
    // A connector that gives the same to all.
    expect(await outcomes({ files: { 'a.csv': 'longer' }, mtime: null })).toEqual(['fetched']);
  });

  test('is only size and time where it was never noted, or is lost', async () => {
    await outcomes(A);
    await rm(index());
    expect(await outcomes({ ...A, etag: '"w"' })).toEqual(['present']);
    await writeFile(
      index(),
      '\0{"file":"a.csv","etag":\n[]\n"x"\n{"file":1}\n{"file":"a.csv","mac":2,"etag":"w"}\nnull',
    );
    expect(await outcomes({ ...A, etag: '"w"' })).toEqual(['present']);
  });

  test('is noted of what was compared by SHA-256, and looked at in a dry run, which notes nothing', async () => {
    await mkdir(join(root, 'out'));
    await writeFile(join(root, 'out/a.csv'), 'aa');
    await download(A, { checksum: true, dryRun: true });
    expect(await readdir(join(root, 'out'))).toEqual(['a.csv']);
    await download(A, { checksum: true });
    expect(await outcomes({ ...A, etag: '"w"' }, { dryRun: true })).toEqual(['planned']);
    expect(await outcomes(A, { dryRun: true })).toEqual(['present']);
  });

  test('is kept nowhere else, whatever is in the place of its file', async () => {
    await mkdir(join(root, 'out'));
    await writeFile(join(root, 'mine'), 'mine');
    await symlink(join(root, 'mine'), index());
    const warnings: string[] = [];
    const onWarning = (text: string): void => void warnings.push(text);
    expect(await outcomes({ files: { 'a.csv': 'aa', 'b.csv': 'bb' } }, { onWarning })).toEqual(['fetched', 'fetched']);
    expect(await readFile(join(root, 'mine'), 'utf8')).toBe('mine');
    expect(warnings).toEqual([expect.stringContaining('.relay-index is a link')]);
  });

  test('cannot be foisted on relay by a dataset', async () => {
    const { summary } = await download({ files: { '.relay-index': 'x', '.Relay-Index': 'x', 'b/.relay-index': 'x' } });
    expect(summary).toMatchObject({ fetched: 1, failed: 2 });
  });

  test('is not noted of a file that was listed as another', async () => {
    await using relay = await serve(({ url }, response) => {
      if (url.startsWith('/connectors/')) {
        return sendJson(response, 200, { datasets: [{ name: 'a.csv', size: 2, etag: '"old"' }] });
      }
      return void response
        .writeHead(200, { 'Content-Length': 2, ETag: '"new"', 'Repr-Digest': digestOf('aa') })
        .end('aa');
    });
    const client = new RelayClient({ baseUrl: relay.url });
    expect(await downloadAll(client, MAC, join(root, 'out'), { retries: 0 })).toMatchObject({ fetched: 1 });
    expect(await readdir(join(root, 'out'))).toEqual(['a.csv']);
  });
});

describe('names of a node', () => {
  test('never lead through a link, nor take the place of one', async () => {
    await mkdir(join(root, 'out'));
    await mkdir(join(root, 'elsewhere'));
    await writeFile(join(root, 'elsewhere/file'), 'mine');
    await symlink(join(root, 'elsewhere'), join(root, 'out/dir'));
    await symlink(join(root, 'elsewhere/file'), join(root, 'out/file'));
    const { summary, results } = await download({ files: { 'dir/a.csv': 'aa', file: 'bb', 'dir/b/c.csv': 'cc' } });
    expect(summary).toMatchObject({ fetched: 0, failed: 3 });
    expect(new Set(results.map(({ error }) => error?.code))).toEqual(new Set(['output_failed']));
    expect(results.map(({ error }) => error?.message).join('\n')).not.toContain('/proc/');
    expect(await readdir(join(root, 'elsewhere'))).toEqual(['file']);
    expect(await readFile(join(root, 'elsewhere/file'), 'utf8')).toBe('mine');
  });

  test('cannot pose as what relay itself leaves beside a file', async () => {
    const files = { '.a.csv.relay-part': 'x', '.a.csv.relay-part.json': 'x', '.a.csv.relay-part.lock': 'x' };
    expect((await download({ files })).summary).toMatchObject({ fetched: 0, failed: 3 });
  });

  test('that no file of Windows can have are refused there', async () => {
    const files = { 'nul.csv': 'x', 'a:b': 'x', 'a\\..\\..\\b': 'x', 'ok.csv': 'x' };
    const { summary } = await download({ files }, { platform: 'win32' });
    expect(summary).toMatchObject({ fetched: 1, failed: 3 });
    expect(await tree()).toEqual(['ok.csv']);
  });

  test('that differ in case only are told of', async () => {
    const warnings: string[] = [];
    const { results } = await download(
      { files: { 'A.csv': 'aa', 'a.csv': 'bb' } },
      { onWarning: (text) => void warnings.push(text) },
    );
    const told = [...warnings, ...results.map(({ error }) => error?.message ?? '')].join('\n');
    expect(told).toMatch(/"a\.csv" and "A\.csv" differ|"A\.csv" and "a\.csv" differ/);
  });

  test('whose directories differ in case or composition only are told of once, and all come', async () => {
    const warnings: string[] = [];
    const names = [
      'Case/x',
      'case/y',
      'case/z',
      'Case/Sub/v',
      'case/sub/w',
      'a/B',
      'a/b/c',
      'caf\u00e9/x',
      'cafe\u0301/y',
    ];
    const { summary } = await download(
      { files: Object.fromEntries(names.map((name) => [name, 'x'])) },
      { onWarning: (text) => void warnings.push(text), parallel: 1 },
    );
    expect(summary).toMatchObject({ fetched: names.length, failed: 0 });
    expect(warnings.map((text) => text.replace(/ differ .*/, ''))).toEqual([
      '"case" and "Case"',
      '"a/b" and "a/B"',
      '"cafe\u0301" and "caf\u00e9"',
    ]);
  });
});

test('a fleet whose files would get one name keeps the first, and tells who was never seen', async () => {
  await using relay = await serveFiles({ files: { 'a.csv': 'aa' } });
  const client = new RelayClient({ baseUrl: relay.url });
  const facts = { state: 'online', last_seen: MTIME, link: 'sse', version: null, labels: {} } as const;
  const results: DownloadResult[] = [];
  const connectors = [
    { ...facts, mac: 'cc-28-aa-01-02-03', name: 'north' },
    { ...facts, mac: 'cc-28-aa-01-02-04', name: null },
    { mac: 'cc-28-aa-01-02-05' },
  ];
  const summary = await downloadFleet(client, connectors, `${root}/out/{name}/{path}`, {
    retries: 0,
    onResult: (result) => void results.push(result),
  });
  expect(summary).toMatchObject({ fetched: 2, failed: 1 });
  expect(await tree()).toEqual(['cc-28-aa-01-02-04/a.csv', 'north/a.csv']);
  expect(results.find(({ outcome }) => outcome === 'failed')).toMatchObject({
    mac: 'cc-28-aa-01-02-05',
    dataset: undefined,
    error: { code: 'connector_not_found' },
  });
});
