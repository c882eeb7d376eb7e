import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { findProgram } from '../../scripts/test-programs.mjs';
import { type Changes, type ClientSite, startClientSite } from '../support/client-site.ts';
import { readDocCommands } from '../support/doc-commands.ts';
import { whyNoFuse } from '../support/fuse.ts';
import { type LogLine, run } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const CSV = `time,celsius\n${Array.from({ length: 20_000 }, (_, index) => `${index},61.5\n`).join('')}`;
const big = randomBytes(24_000_000);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What a URL and a shell take for something else, below a directory of its own. */
const NAMES = [
  '50%.csv',
  '%41.csv',
  'x#1.csv',
  'what?.csv',
  'a+b&c;d=e@f.csv',
  `it's "one".csv`,
  '12:30 [x].csv',
  'prüfung.csv',
  '日本語.csv',
  'empty.csv',
  'a b/run 1.csv',
  'a b/100% #1/deep.csv',
  'größe/%2F.csv',
];
const contentOf = (name: string): string => (name === 'empty.csv' ? '' : name);
const CHANGED = new Date('2026-01-31T12:00:00Z');

const noFuse = await whyNoFuse();
if (noFuse !== undefined) process.stderr.write(`rclone mount is not tested: ${noFuse}\n`);

const resources = new AsyncDisposableStack();
let dataDir = '';

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'measurements.csv'), CSV);
  await writeFile(join(dataDir, 'big.bin'), big);
  for (const name of NAMES) {
    const file = join(dataDir, '2026', name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, contentOf(name));
    await utimes(file, CHANGED, CHANGED);
  }
});

afterAll(() => resources.disposeAsync());

test('every block of the document is run by a test, but the one that names the router', async () => {
  const left = (await readDocCommands(join(import.meta.dirname, '../../docs/clients.md'))).filter(
    ({ isRun }) => !isRun,
  );
  expect(left.map(({ script }) => script)).toEqual([
    'D=https://relay.example.com/connectors/cc-28-aa-01-02-03/datasets\n',
  ]);
});

describe.each([
  ['with a token', true],
  ['without a token', false],
])('%s', (_, hasToken) => {
  const own = new AsyncDisposableStack();
  const curl: Changes = hasToken ? {} : { 'curl -n ': 'curl ' };
  let site: ClientSite;

  beforeAll(async () => {
    site = own.use(await startClientSite({ dataDir, hasToken }));
  });

  beforeEach(async () => {
    site.line.heal();
    for (const file of await readdir(site.desk)) {
      if (/^(big|last|measurements)\./.test(file)) await rm(join(site.desk, file));
    }
  });

  afterAll(() => own.disposeAsync());

  const read = (file: string): Promise<Buffer> => readFile(join(site.desk, file));
  const expectBig = async (): Promise<void> => expect(sha256(await read('big.bin'))).toBe(sha256(big));
  /** Breaks the next download after 8 MB of its bytes. */
  const breakOnce = (): void =>
    site.line.arm({ kind: 'rst', traffic: 'data', direction: 'down', afterBytes: 8_000_000, outageMs: 0 });

  test('curl: heads, the whole, and parts', async () => {
    const before = site.line.passed('data', 'down');
    const said = await site.sh('curl', curl);
    expect(site.line.passed('data', 'down') - before).toBeLessThan(CSV.length / 2);
    expect(said).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(said).toContain(`\r\nContent-Length: ${CSV.length}\r\n`);
    expect((await read('measurements.csv')).toString()).toBe(CSV);
    expect((await read('last.bin')).equals(big.subarray(-100))).toBe(true);
    const copied = await stat(join(site.desk, 'measurements.csv'));
    const { mtimeMs } = await stat(join(dataDir, 'measurements.csv'));
    expect(copied.mtimeMs).toBe(Math.floor(mtimeMs / 1000) * 1000);
  });

  test('curl goes on after a cut, and never with another version', async () => {
    breakOnce();
    await expect(site.sh('curl, going on', curl)).rejects.toThrow(/ended with (18|56)/);
    const had = (await stat(join(site.desk, 'big.bin'))).size;
    expect(had).toBeGreaterThan(4_000_000);
    await site.sh('curl, going on', curl);
    await expectBig();
    await site.router.logged(({ msg, bytes }) => msg === 'request done' && bytes === big.length - had);

    await writeFile(join(site.desk, 'big.bin'), big.subarray(0, 1000));
    await writeFile(join(site.desk, 'big.etag'), 'If-Match: "another"\n');
    await expect(site.sh('curl, going on', curl)).rejects.toThrow(/ended with 22/);
    expect((await read('big.bin')).length).toBe(1000);
  });

  test('wget goes on by itself', async () => {
    await findProgram('wget');
    const from = site.router.log.length;
    breakOnce();
    await site.sh('wget');
    expect(site.line.hasStruck).toBe(true);
    await expectBig();
    const rest = await site.router.logged(({ msg }) => msg === 'request done', from);
    expect(rest['bytes']).toBeLessThan(big.length - 4_000_000);
    await site.sh('wget');
    await expectBig();
  });

  test('aria2 reads by eight connections, one of which breaks', async () => {
    await findProgram('aria2c');
    const from = site.router.log.length;
    breakOnce();
    await site.sh('aria2');
    expect(site.line.hasStruck).toBe(true);
    await expectBig();
    const isOfBig = ({ msg, dataset }: LogLine): boolean => dataset === 'big.bin' && String(msg).startsWith('request ');
    await site.router.logged(() => site.router.log.slice(from).filter(isOfBig).length >= 8, from);
  });

  const rclone: Changes = hasToken ? {} : { 'export RCLONE_HEADER="Authorization: Bearer $(cat analyst.token)"': '' };

  test('rclone copies', async () => {
    await findProgram('rclone');
    await site.sh('rclone', rclone);
    await expectBig();
    expect((await read('measurements.csv')).toString()).toBe(CSV);
  });

  test('rclone lists directories, and copies what is new or has changed', async () => {
    await findProgram('rclone');
    const from = site.router.log.length;
    const list = async (): Promise<string[]> => {
      const said = await site.sh('rclone, directories', { ...rclone, 'rclone lsl ': 'TZ=UTC rclone lsl ' });
      return said.split('\n').map((line) => line.trim());
    };
    const sizeOf = (name: string): number => Buffer.byteLength(contentOf(name));
    const lines = [
      `${CSV.length} measurements.csv`,
      `${big.length} big.bin`,
      ...NAMES.map((name) => `${sizeOf(name)} 2026/${name}`),
      ...NAMES.map((name) => `${sizeOf(name)} 2026-01-31 12:00:00.000000000 ${name}`),
      '',
    ];
    expect((await list()).toSorted()).toEqual(lines.toSorted());
    const copies = join(site.desk, 'copies/2026');
    const all = await readdir(copies, { recursive: true, withFileTypes: true });
    expect(all.filter((entry) => entry.isFile())).toHaveLength(NAMES.length);
    for (const name of NAMES) {
      expect([name, await readFile(join(copies, name), 'utf8')]).toEqual([name, contentOf(name)]);
      expect((await stat(join(copies, name))).mtimeMs).toBe(CHANGED.getTime());
    }

    const isDone = ({ msg }: LogLine): boolean => msg === 'request done';
    const sent = (): unknown[] =>
      site.router.log
        .slice(from)
        .filter(isDone)
        .map(({ dataset }) => dataset);
    await site.router.logged(() => sent().length >= NAMES.length, from);
    await list();
    await writeFile(join(dataDir, '2026/a b/run 1.csv'), 'changed');
    await list();
    await site.router.logged(() => sent().length > NAMES.length, from);
    expect(sent().slice(NAMES.length)).toEqual(['2026/a b/run 1.csv']);
    expect(await readFile(join(copies, 'a b/run 1.csv'), 'utf8')).toBe('changed');
    await writeFile(join(dataDir, '2026/a b/run 1.csv'), contentOf('a b/run 1.csv'));
    await utimes(join(dataDir, '2026/a b/run 1.csv'), CHANGED, CHANGED);
  });

  (noFuse === undefined ? describe : describe.skip)('with FUSE', () => {
    test('rclone mounts a node as a directory', async () => {
      await findProgram('rclone');
      const look = 'head -n 1 node/measurements.csv\n';
      try {
        const said = await site.sh('rclone mount', {
          ...rclone,
          [look]: `${look}diff -r node/2026 '${dataDir}/2026'\n`,
        });
        expect(said).toBe('time,celsius\n');
      } finally {
        // Only where the block did not get to its end.
        await run('fusermount3', ['-q', '-u', '-z', join(site.desk, 'node')]);
      }
      expect((await read('last.bin')).equals(big.subarray(-100))).toBe(true);
    });
  });

  test('fetch, undici and the https of Node.js', async () => {
    expect(await site.node('fetch')).toBe(`${CSV}\n`);
    await site.node('undici');
    await expectBig();
    expect(await site.node('https', { 'node:https': 'node:http' })).toBe('time,celsius\n');
  });
});
