import { expect, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { startRouter } from '../../support/router.ts';

interface Page {
  readonly connectors?: { mac: string }[];
  readonly next?: string;
  readonly detail?: string;
}

async function list(url: string): Promise<{ status: number; macs: string[]; next: string | null; detail?: string }> {
  const response = await fetch(url);
  const { connectors = [], detail } = (await response.json()) as Page;
  const macs = connectors.map(({ mac }) => mac.slice(-2));
  const next = /<([^>]+)>/.exec(response.headers.get('Link') ?? '')?.[1];
  return { status: response.status, macs, next: next ?? null, ...(detail !== undefined && { detail }) };
}

const mac = (end: string): Mac => `cc-28-aa-01-02-${end}` as Mac;

test('connectors are listed by label and state, page by page, and what is neither is refused', async () => {
  await using router = await startRouter();
  const start = (end: string, labels: Record<string, string>) =>
    startOwnConnector(router.url, Buffer.alloc(0), { mac: mac(end), labels });
  await using resources = new AsyncDisposableStack();
  resources.use(await start('01', { site: 'oslo', line: 'a=b, c' }));
  resources.use(await start('02', { site: 'oslo' }));
  resources.use(await start('03', { site: 'bergen' }));
  const gone = await start('04', { site: 'oslo' });
  await gone[Symbol.asyncDispose]();
  const ask = (query: string) => list(`${router.url}/connectors?${query}`);

  expect(await ask('label=site%3Doslo')).toMatchObject({ status: 200, macs: ['01', '02', '04'] });
  expect(await ask('label=site%3Doslo&state=online')).toMatchObject({ macs: ['01', '02'] });
  expect(await ask('state=offline')).toMatchObject({ macs: ['04'] });
  expect(await ask(`label=site%3Doslo&label=${encodeURIComponent('line=a=b, c')}`)).toMatchObject({ macs: ['01'] });
  expect(await ask('label=site%3Doslo&label=site%3Dbergen')).toMatchObject({ macs: [] });
  expect(await ask('label=constructor%3D')).toMatchObject({ macs: [] });

  const first = await ask('label=site%3Doslo&state=online&limit=1');
  expect(first.macs).toEqual(['01']);
  expect(await list(`${router.url}/${first.next}`)).toMatchObject({ macs: ['02'], next: null });

  for (const limit of ['1001', '99999', '9999999', '0002', '999999999999999'])
    expect(await ask(`state=offline&limit=${limit}`)).toMatchObject({ status: 200, macs: ['04'] });
  for (const limit of ['0', '000', '-1', '1.5', '1e3', ' 1', '', 'x', '1000000000000000'])
    expect(await ask(`limit=${encodeURIComponent(limit)}`)).toMatchObject({
      status: 400,
      detail: expect.stringContaining('limit'),
    });

  expect(await ask('label=site')).toMatchObject({ status: 400, detail: 'label must be KEY=VALUE' });
  expect(await ask('label=%3Doslo')).toMatchObject({ status: 400 });
  expect(await ask('state=asleep')).toMatchObject({ status: 400, detail: 'state must be online or offline' });
});
