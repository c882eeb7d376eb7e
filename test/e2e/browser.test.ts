import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { openBrowser } from '../support/browser.ts';
import { createToken, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const SECRET = 'one secret of more than thirty-two characters';
/** Names that would lead elsewhere, or be taken for markup, where they are not written rightly. */
const NAMES = [
  'a b.csv',
  '"><img src=x onerror=alert(1)>.csv',
  'a?b#c&d.csv',
  '100%.csv',
  '..x.csv',
  ':80.csv',
  'ü 😀.csv',
  "it's.txt",
];
const FOLDER = '<i>folder #1?';

test('somebody with a browser logs in, walks into a folder and downloads a file', async () => {
  await using data = await makeTempDir();
  const inner = join(data.path, 'data', FOLDER, 'inner');
  await mkdir(inner, { recursive: true });
  for (const name of NAMES) await writeFile(join(inner, name), `content of ${name}`);
  await writeFile(join(data.path, 'data/top.html'), '<script>alert(1)</script>');
  const env = { RELAY_SECRET: SECRET };
  const make = (...args: string[]): Promise<string> => createToken(['--mac', NODE, ...args], env);
  const tokenFile = join(data.path, 'token');
  await writeFile(tokenFile, await make('--role', 'connector'), { mode: 0o600 });
  await using router = await startRouterProcess([], env);
  await using _connector = await startConnectorProcess(router.url, NODE, join(data.path, 'data'), [
    '--token-file',
    tokenFile,
    '--name',
    'Press 3',
    '--hidden',
  ]);
  const address = `${router.url}/connectors/${NODE}/datasets`;

  await using stranger = await openBrowser();
  const refused = await stranger.context.newPage();
  expect((await refused.goto(address).catch(() => null))?.status() ?? 401).toBe(401);

  await using browser = await openBrowser(await make('--role', 'app', '--dataset', '**'));
  const page = await browser.context.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.location().url.endsWith('/favicon.ico')) problems.push(message.text());
  });
  page.on('dialog', (dialog) => {
    problems.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });

  // From the address of the JSON, as one may guess it, to the page.
  await page.goto(address);
  expect(page.url()).toBe(`${address}/`);
  expect(await page.title()).toBe('Datasets of Press 3');
  expect(await page.locator('tbody a').allTextContents()).toEqual([`${FOLDER}/`, 'top.html']);
  // The style is allowed, by its hash, and takes effect.
  expect(await page.locator('table').evaluate((table) => getComputedStyle(table).borderCollapse)).toBe('collapse');

  await page.getByRole('link', { name: `${FOLDER}/` }).click();
  await page.getByRole('link', { name: 'inner/' }).click();
  expect(await page.locator('tbody a').allTextContents()).toEqual(['../', ...NAMES.toSorted()]);
  for (const name of NAMES) {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name, exact: true }).click(),
    ]);
    expect(await download.failure()).toBeNull();
    expect(await readFile(await download.path(), 'utf8')).toBe(`content of ${name}`);
  }

  await page.getByRole('link', { name: '../' }).click();
  await page.getByRole('link', { name: '../' }).click();
  expect(page.url()).toBe(`${address}/`);
  const [saved] = await Promise.all([page.waitForEvent('download'), page.getByText('top.html').click()]);
  expect(saved.suggestedFilename()).toBe('top.html');
  expect(problems).toEqual([]);
}, 120_000);
