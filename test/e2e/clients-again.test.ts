import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { findProgram } from '../../scripts/test-programs.mjs';
import { openBrowser } from '../support/browser.ts';
import { type ClientSite, startClientSite } from '../support/client-site.ts';
import { type LogLine, RELAY } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const CSV = 'time,celsius\n08:00,61.5\n';
const RELAY_COMMAND = { 'relay app': `${process.execPath} ${RELAY} app` };
const big = randomBytes(24_000_000);

const resources = new AsyncDisposableStack();
let site: ClientSite;
let dataDir = '';

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'measurements.csv'), CSV);
  await writeFile(join(dataDir, 'big.bin'), big);
  site = resources.use(await startClientSite({ dataDir, hasToken: true }));
}, 60_000);

beforeEach(async () => {
  site.line.heal();
  site.line.bytesPerSecond = Number.POSITIVE_INFINITY;
  for (const file of await readdir(site.desk)) {
    if (/^(big|measurements)\./.test(file)) await rm(join(site.desk, file));
  }
});

afterAll(() => resources.disposeAsync());

const isWhole = async (path = join(site.desk, 'big.bin')): Promise<boolean> => big.equals(await readFile(path));

test('curl has only what is newer than its copy', async () => {
  const copy = join(site.desk, 'measurements.csv');
  const { mtime } = await stat(join(dataDir, 'measurements.csv'));
  await writeFile(copy, 'an older one');
  await utimes(copy, mtime, mtime.getTime() / 1000 - 60);
  expect(await site.sh('curl, if newer')).toBe('200\n');
  expect(await readFile(copy, 'utf8')).toBe(CSV);
  // It has the time of the dataset now.
  await writeFile(copy, 'as new');
  await utimes(copy, mtime, mtime);
  expect(await site.sh('curl, if newer')).toBe('304\n');
  expect(await readFile(copy, 'utf8')).toBe('as new');
});

test('curl says of a file that is whole already that there is no more of it', async () => {
  await site.sh('curl, going on');
  expect(await isWhole()).toBe(true);
  await expect(site.sh('curl, going on')).rejects.toThrow(/ended with 22:[^]*416/);
  expect(await isWhole()).toBe(true);
});

test('wget goes on with what an earlier run has left', async () => {
  await findProgram('wget');
  await writeFile(join(site.desk, 'big.bin'), big.subarray(0, 9_000_000));
  const from = site.router.log.length;
  await site.sh('wget');
  expect(await isWhole()).toBe(true);
  const { bytes } = await site.router.logged(({ msg }) => msg === 'request done', from);
  expect(bytes).toBe(big.length - 9_000_000);
});

test('aria2 reads by eight connections at once', async () => {
  await findProgram('aria2c');
  // Each has three seconds to carry its part.
  site.line.bytesPerSecond = 1_000_000;
  const from = site.router.log.length;
  await site.sh('aria2');
  expect(await isWhole()).toBe(true);
  const isOfBig = ({ msg, dataset }: LogLine): boolean => dataset === 'big.bin' && String(msg).startsWith('request ');
  await site.router.logged(() => site.router.log.slice(from).filter(isOfBig).length >= 8, from);
  const requests = site.router.log.slice(from).filter(isOfBig);
  const begun = requests.map(({ time, ms }) => new Date(String(time)).getTime() - Number(ms)).toSorted((a, b) => a - b);
  expect((begun[7] ?? Infinity) - (begun[0] ?? 0)).toBeLessThan(2000);
});

test('a browser downloads by a signed link, without a token', async () => {
  const link = (await site.sh('link', RELAY_COMMAND)).trim();
  expect(new URL(link).origin).toBe(site.line.url);
  await using browser = await openBrowser();
  const tab = await browser.context.newPage();
  // What is downloaded is no page to go to, which ends the going.
  const [download] = await Promise.all([tab.waitForEvent('download'), tab.goto(link).catch(() => undefined)]);
  expect(download.suggestedFilename()).toBe('big.bin');
  expect(await download.failure()).toBeNull();
  expect(await isWhole(await download.path())).toBe(true);
});

test('a browser downloads from the page of a directory, with the token as password', async () => {
  await using browser = await openBrowser(site.auth['authorization']?.slice('Bearer '.length));
  const tab = await browser.context.newPage();
  await tab.goto(`${site.datasets}/`);
  const [download] = await Promise.all([tab.waitForEvent('download'), tab.getByText('big.bin').click()]);
  expect(await download.failure()).toBeNull();
  expect(await isWhole(await download.path())).toBe(true);
});
