import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ensureRuntimes } from '../../scripts/runtimes.mjs';
import { openBrowser } from '../support/browser.ts';
import { FaultyLine, type LineFault } from '../support/faulty-line.ts';
import { installPackage } from '../support/installed-package.ts';
import { type FilesTourPlan, runFilesTour } from '../support/library-tour-files.ts';
import { runTour, type TourPlan, type TourReport } from '../support/library-tour.ts';
import { findFreePort } from '../support/nginx.ts';
import { servePage } from '../support/page-site.ts';
import { createToken, type LogLine, RoleProcess, run } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const ROOT = join(import.meta.dirname, '../..');
const SUPPORT = join(ROOT, 'test/support');
const MAC = 'cc-28-aa-01-02-03';
const ENV = { RELAY_SECRET: 'one secret of more than thirty-two characters' };
const ODD = 'shift 1/ü "q"; é😀.csv';
const CSV = `time,celsius\n${Array.from({ length: 20_000 }, (_, index) => `${index},61.5\n`).join('')}`;
const big = randomBytes(12_000_000);
const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

const CUT: LineFault = { kind: 'rst', traffic: 'data', direction: 'down', afterBytes: 5_000_000, outageMs: 0 };
const FLIP: LineFault = { ...CUT, kind: 'flip', afterBytes: 1_000_000 };

const MAIN = `
import * as library from '@relay-data/relay';
import * as files from '@relay-data/relay/files';
import { ${runTour.name} } from './library-tour.ts';
import { ${runFilesTour.name} } from './library-tour-files.ts';
const plan = JSON.parse(process.env.TOUR_PLAN);
const reports = [await ${runTour.name}(library, plan), await ${runFilesTour.name}(library, files, plan)];
process.stdout.write(JSON.stringify(reports));
`;

const resources = new AsyncDisposableStack();
/** Where the package is installed, with the tours. */
let place = '';
let dataDir = '';
let token = '';
let page: Awaited<ReturnType<typeof servePage>>;
/** A router with its connector. */
let url = '';
/** Another one, from which nobody gets so much that it would know a line too fast to compress for. */
let textUrl = '';

beforeAll(async () => {
  place = resources.use(await installPackage()).path;
  for (const file of ['library-tour.ts', 'library-tour-files.ts']) {
    await writeFile(join(place, file), await readFile(join(SUPPORT, file)));
  }
  await writeFile(join(place, 'main.mjs'), MAIN);
  dataDir = resources.use(await makeTempDir()).path;
  await mkdir(join(dataDir, dirname(ODD)));
  await writeFile(join(dataDir, ODD), 'odd');
  await writeFile(join(dataDir, 'measurements.csv'), CSV);
  await writeFile(join(dataDir, 'big.bin'), big);
  page = resources.use(await servePage({ '/tour.js': join(place, 'tour-in-a-page.js') }));
  const make = (...args: string[]): Promise<string> => createToken(['--mac', MAC, ...args], ENV);
  token = await make('--role', 'app', '--dataset', '**');
  await writeFile(join(place, 'connector.token'), await make('--role', 'connector'), { mode: 0o600 });
  ({ url } = resources.use(await startRoles()));
  ({ url: textUrl } = resources.use(await startRoles()));
}, 300_000);

afterAll(() => resources.disposeAsync());

/** Starts a router and a connector, from the package. @param node what they run on. */
async function startRoles(
  node: string = process.execPath,
): Promise<AsyncDisposable & { url: string; log(): LogLine[]; end(): Promise<unknown> }> {
  await using own = new AsyncDisposableStack();
  const directory = own.use(await makeTempDir());
  const command = [node, join(place, 'node_modules/@relay-data/relay/bin/relay.js')];
  const options = { command, cwd: directory.path, env: ENV };
  const routerArgs = ['--port', '0', '--state-dir', join(directory.path, 'state'), '--cors-origin', page.origin];
  const router = own.use(new RoleProcess(['router', ...routerArgs], options));
  const listening = await router.logged((line) => typeof line['url'] === 'string');
  const address = String(listening['url']);
  const words = ['--router', address, '--mac', MAC, '--data-dir', dataDir];
  const args = [...words, '--token-file', join(place, 'connector.token')];
  const connector = own.use(new RoleProcess(['connector', ...args], options));
  await connector.logged(({ msg }) => msg === 'connected to router');
  const started = own.move();
  return {
    url: address,
    log: () => [...router.log, ...connector.log],
    end: async () => [await connector.end(), await router.end()],
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

/** A plan for one tour, with lines of its own. @param to the router that most of it leads to. */
async function makePlan(to = url): Promise<AsyncDisposable & { plan: FilesTourPlan; lines: FaultyLine[] }> {
  await using own = new AsyncDisposableStack();
  const lay = async (target: string, fault?: LineFault): Promise<FaultyLine> => {
    const line = own.use(await FaultyLine.to(Number(new URL(target).port)));
    if (fault !== undefined) line.arm(fault);
    return line;
  };
  const directory = own.use(await makeTempDir()).path;
  const lines = [await lay(textUrl), await lay(to, CUT), await lay(to, FLIP), await lay(to, CUT)];
  const [text, cut, flip, cutFile] = lines.map((line) => line.url) as [string, string, string, string];
  const deadUrl = `http://127.0.0.1:${await findFreePort()}`;
  const urls = { url: to, textUrl: text, cutUrl: cut, flipUrl: flip, cutFileUrl: cutFile, deadUrl };
  const laid = own.move();
  return { plan: { mac: MAC, token, directory, ...urls }, lines, [Symbol.asyncDispose]: () => laid.disposeAsync() };
}

/** All that was to go wrong has gone wrong, on so many lines, and the text came in less than its bytes. */
function expectFaults([text, ...faulty]: readonly FaultyLine[], count: number): void {
  expect(text?.passed('data', 'down')).toBeGreaterThan(0);
  expect(text?.passed('data', 'down')).toBeLessThan(CSV.length / 2);
  expect(faulty.filter(({ hasStruck }) => hasStruck).length).toBe(count);
}

const whole = sha256(big);
const part = sha256(big.subarray(1000, 3_001_000));
const sizes = { 'big.bin': big.length, 'measurements.csv': CSV.length, [ODD]: 3 };
const bytes = Object.values(sizes).reduce((sum, size) => sum + size);

/** What every platform has to say. */
const TOUR: TourReport = {
  connectors: [[MAC, 'online']],
  datasets: Object.entries(sizes),
  stat: [3, 'string', true],
  'a text, compressed on its way': sha256(CSV),
  'the whole': [big.length, whole],
  'a range': part,
  'the whole, over a line that breaks': [whole, 1, true],
  'the whole, over a line that tells another': 'content_mismatch',
  'a part that nothing verifies': 'unverified',
  'a stream': whole,
  'broken off': true,
  aborted: true,
  'aborted before it began': 'AbortError',
  'no such dataset': ['dataset_not_found', false, 'string'],
  'a token that is none': 'unauthorized',
  'nobody there': 'router_unreachable',
  'a name that is none': 'invalid_request',
  sync: [sha256(CSV), 'utf8'],
  digest: `sha-256=:${Buffer.from(whole, 'hex').toString('base64')}:`,
  offloaded: [200, whole],
  'offloaded, a range of it': [206, `bytes 1000-3000999/${big.length}`, part],
  'offloaded, verified': whole,
  'a signed URL': [206, CSV.slice(5, 12), `bytes 5-11/${CSV.length}`, true, 'string'],
  'only if it is another': 304,
  'by way of the store': [200, true, whole],
};

/** And what those say that have files. */
const FILES: TourReport = {
  download: [big.length, true, 1, whole],
  'download, going on with what an earlier one has left': ['AbortError', true, true, whole],
  'download of what is not there': ['dataset_not_found', ['again.bin', 'big.bin']],
  'saveTo, by way of the store': [big.length, true, whole],
  downloadAll: [3, 0, bytes, 3, 3, ['.relay-index', 'big.bin', 'measurements.csv', 'ü "q"; é😀.csv'], whole, []],
  downloadFleet: [1, 0, whole],
};

test('the Node.js of the tests is the oldest that the package runs on', async () => {
  const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { engines: { node: string } };
  const { node } = await ensureRuntimes();
  expect(`>=${(await run(node, ['--version'])).stdout.toString().trim().slice(1)}`).toBe(engines.node);
});

/** Takes a tour with a runtime, and sees to it that it brings what it has to. @param to the router that it leads to. */
async function expectTour(command: readonly string[], to?: string): Promise<void> {
  const [program = '', ...args] = command;
  await using own = await makePlan(to);
  await using home = await makeTempDir();
  // Nothing of the machine's, and what runtimes keep goes where it is cleared away. Node.js 22 warns of its SQLite.
  const env = {
    PATH: process.env['PATH'],
    HOME: home.path,
    NO_COLOR: '1',
    DENO_NO_UPDATE_CHECK: '1',
    NODE_NO_WARNINGS: '1',
    TOUR_PLAN: JSON.stringify(own.plan),
  };
  const { code, stdout, stderr } = await run(program, [...args, 'main.mjs'], { cwd: place, env });
  expect([code, stderr]).toEqual([0, '']);
  const [report, filesReport] = JSON.parse(stdout.toString()) as [TourReport, TourReport];
  expect(report).toEqual(TOUR);
  expect(filesReport).toEqual(FILES);
  expectFaults(own.lines, 3);
}

test('router and connector do all on the oldest Node.js that they do on later ones', async () => {
  const { node } = await ensureRuntimes();
  await using roles = await startRoles(node);
  await expectTour([process.execPath], roles.url);
  expect(await roles.end()).toEqual([0, 0]);
  // Nothing that Node.js itself has to say is in a log of JSON.
  expect(roles.log().filter(({ level }) => level === undefined)).toEqual([]);
});

test('the command line says nothing on the oldest Node.js that it does not say on later ones', async () => {
  const { node } = await ensureRuntimes();
  await using directory = await makeTempDir();
  const relay = join(place, 'node_modules/@relay-data/relay/bin/relay.js');
  const words = ['app', 'request-stream', MAC, 'measurements.csv', '--router', url, '-o', 'copy.csv'];
  const { code, stderr } = await run(node, [relay, ...words], { cwd: directory.path, env: { RELAY_TOKEN: token } });
  expect([code, stderr]).toEqual([0, '']);
  expect(await readFile(join(directory.path, 'copy.csv'), 'utf8')).toBe(CSV);
});

describe('the library', () => {
  test.each([
    ['Node.js, the oldest', async () => [(await ensureRuntimes()).node]],
    ['the Node.js of the checkout', async () => [process.execPath]],
    ['Bun', async () => [(await ensureRuntimes()).bun, 'run', '--no-install']],
    ['Deno', async () => [(await ensureRuntimes()).deno, 'run', '-A', '--node-modules-dir=manual', '--no-config']],
  ])('lists, reads, keeps and tells errors on %s', async (_, findCommand) => {
    await expectTour(await findCommand());
  });

  test('lists, reads and tells errors in a page of another origin that a bundler has made', async () => {
    await writeFile(
      join(place, 'page.js'),
      `import * as library from '@relay-data/relay';
       import { ${runTour.name} } from './library-tour.ts';
       globalThis.tour = (plan) => ${runTour.name}(library, plan);`,
    );
    const bundler = join(ROOT, 'node_modules/.bin/esbuild');
    const options = ['--bundle', '--platform=browser', '--outfile=tour-in-a-page.js', '--log-level=warning'];
    const bundled = await run(bundler, ['page.js', ...options], { cwd: place });
    expect([bundled.code, bundled.stderr]).toEqual([0, '']);

    await using own = await makePlan();
    await using browser = await openBrowser();
    const tab = await browser.context.newPage();
    await tab.goto(page.origin);
    await tab.addScriptTag({ url: '/tour.js' });
    const take = (words: TourPlan): Promise<TourReport> =>
      tab.evaluate((each) => (globalThis as unknown as { tour: typeof take }).tour(each), words);
    expect(await take(own.plan)).toEqual(TOUR);
    expectFaults(own.lines, 2);

    // The same page under a name that the router was not told.
    await tab.goto(page.otherOrigin);
    await tab.addScriptTag({ url: '/tour.js' });
    const { connectors, stat, sync } = await take(own.plan);
    for (const said of [connectors, stat, sync]) expect(said).toContain('(router_unreachable)');
  });
});
