import { describe, expect, test } from '@jest/globals';
import { RouterMetrics } from '../../../src/observability/metrics.ts';
import { readDocument, readTables } from './documents.ts';

const rows = readTables(readDocument('docs/metrics.md')).find((table) => table[0]?.[0]?.startsWith('`relay_')) ?? [];

/** What a router prints that has counted one of each. */
async function render(): Promise<string> {
  const zero = (): number => 0;
  const connectors = (): { online: number; offline: number } => ({ online: 1, offline: 2 });
  const held = (): { app: number; connector: number } => ({ app: 1, connector: 2 });
  const metrics = new RouterMetrics('1.2.3', {
    connectors,
    pending: zero,
    buffered: zero,
    stored: zero,
    connections: zero,
    held,
  });
  metrics.countRefusal('memory');
  metrics.countRequest({ pattern: 'sync', code: 'ok', seconds: 1, beginSeconds: 1, bytes: 1 });
  metrics.countLinkClosed('sse', 'lost');
  metrics.countAuthFailure('forbidden');
  return (await metrics.render()).text;
}

/** The labels of every sample of a metric, without those that its type brings. */
function labelsOf(name: string, text: string): string[] {
  const samples = [...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?(?:\\{(.*)\\})? `, 'gm'))];
  const labels = samples.flatMap(([, list = '']) => [...list.matchAll(/(\w+)="/g)].map(([, label]) => label as string));
  return [...new Set(labels)].filter((label) => label !== 'le').toSorted();
}

describe('docs/metrics.md', () => {
  test('has a row for every metric of relay, with its type and labels', async () => {
    const text = await render();
    const printed = [...text.matchAll(/^# TYPE (relay_\w+) (\w+)$/gm)].map(([, name = '', type]) => ({
      name,
      type,
      labels: labelsOf(name, text),
    }));
    const told = rows.map(([name = '', type, labels = '']) => ({
      name: name.replaceAll('`', ''),
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label as string).toSorted(),
    }));
    const byName = (a: { name: string }, b: { name: string }): number => a.name.localeCompare(b.name);
    expect(told.toSorted(byName)).toEqual(printed.toSorted(byName));
    for (const row of rows) expect(row[3]).not.toBe('');
  });

  test('speaks of metrics of the process that are there', async () => {
    const text = await render();
    expect(text).toMatch(/^process_cpu_seconds_total /m);
    expect(text).toMatch(/^nodejs_eventloop_lag_seconds /m);
  });
});
