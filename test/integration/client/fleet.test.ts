import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Connector } from '../../../src/connector/connector.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { PlainConnector } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';
import { runApp } from '../../unit/cli/app/command-line.ts';

const COUNT = 300;
const OFFLINE = 10;
const DYING = 10;
/** How many connect at a time. */
const BATCH = 50;

const macOf = (number: number): Mac =>
  `02-00-00-00-${number.toString(16).padStart(4, '0').match(/../g)?.join('-')}` as Mac;

interface Line {
  readonly mac: string;
  readonly dataset: string | null;
  readonly outcome: string;
  readonly code: string | null;
}

async function connect(routerUrl: string, number: number, dataDir: string): Promise<Connector> {
  const connector = new Connector({
    routerUrl: new URL(routerUrl),
    mac: macOf(number),
    name: `plant ${number}`,
    labels: { fleet: 'test' },
    dataDir,
    transport: 'websocket',
    version: '0.0.0-test',
    logger: silentLogger(),
  });
  void connector.run();
  await once(connector, 'online');
  return connector;
}

/** Lists one dataset, and is gone as soon as it is asked for it. */
async function die(connector: PlainConnector): Promise<void> {
  const list = await connector.next();
  const datasets = [{ name: 'a.csv', size: 5, mtime: '2026-01-31T12:00:00Z' }];
  await connector.post('/datasets/result', { request_id: list.request_id, datasets });
  await connector.next();
  connector.socket.terminate();
}

test('a fleet with some away and some dying is fetched as far as it is there, and the second time only the rest', async () => {
  await using data = await makeTempDir();
  await using lake = await makeTempDir();
  await writeFile(join(data.path, 'a.csv'), 'a,b,c');
  await writeFile(join(data.path, 'b.bin'), Buffer.alloc(40_000, 7));
  await writeFile(join(data.path, 'c.txt'), 'not asked for');
  await using router = await startRouter({ resumeWaitMs: 0 });
  await using resources = new AsyncDisposableStack();
  const bring = async (first: number, end: number): Promise<Connector[]> => {
    const all: Connector[] = [];
    for (let at = first; at < end; at += BATCH) {
      const numbers = Array.from({ length: Math.min(BATCH, end - at) }, (_, index) => at + index);
      all.push(...(await Promise.all(numbers.map((number) => connect(router.url, number, data.path)))));
    }
    for (const connector of all) resources.defer(() => connector.close());
    return all;
  };
  const offline = await bring(0, OFFLINE);
  await Promise.all(offline.map((connector) => connector.close()));
  for (let number = OFFLINE; number < OFFLINE + DYING; number += 1) {
    const mortal = await PlainConnector.connect(router.url, { mac: macOf(number), capabilities: 'list' });
    resources.use(mortal);
    void die(mortal);
  }
  await bring(OFFLINE + DYING, COUNT);

  const run = async (): Promise<{ code: number; lines: Line[]; stderr: string }> => {
    const report = join(lake.path, 'report.ndjson');
    const words = ['--connectors', 'all', '*.{csv,bin}', '-o', join(lake.path, 'files/{mac}/{path}')];
    const { code, stderr } = await runApp(
      ['request', ...words, '--parallel', '8', '--retry', '0', '--report', report],
      { router: router.url },
    );
    const text = await readFile(report, 'utf8');
    return {
      code,
      stderr,
      lines: text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Line),
    };
  };
  const count = (lines: Line[], outcome: string): number => lines.filter((line) => line.outcome === outcome).length;

  const first = await run();
  const good = COUNT - OFFLINE - DYING;
  expect([first.code, count(first.lines, 'fetched')]).toEqual([11, good * 2]);
  const failed = first.lines.filter(({ outcome }) => outcome === 'failed');
  const away = failed.filter(({ dataset }) => dataset === null);
  expect(away.map(({ mac }) => mac).toSorted()).toEqual(Array.from({ length: OFFLINE }, (_, index) => macOf(index)));
  expect(new Set(away.map(({ code }) => code))).toEqual(new Set(['connector_offline']));
  expect(failed.filter(({ dataset }) => dataset === 'a.csv')).toHaveLength(DYING);
  expect(failed).toHaveLength(OFFLINE + DYING);
  expect(first.stderr).toContain(`${OFFLINE + DYING} of ${good * 2 + OFFLINE + DYING} failed`);
  expect((await readdir(join(lake.path, 'files'))).filter((name) => name !== '.relay-index')).toHaveLength(
    good + DYING,
  );
  expect(await readFile(join(lake.path, 'files', macOf(COUNT - 1), 'a.csv'), 'utf8')).toBe('a,b,c');

  await bring(0, OFFLINE + DYING);
  const second = await run();
  expect([second.code, second.lines.length]).toEqual([0, COUNT * 2]);
  expect(count(second.lines, 'present')).toBe(good * 2);
  expect(count(second.lines, 'fetched')).toBe((OFFLINE + DYING) * 2);

  const third = await run();
  expect([third.code, count(third.lines, 'present')]).toEqual([0, COUNT * 2]);
}, 60_000);
