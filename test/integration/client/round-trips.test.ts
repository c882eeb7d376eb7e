import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { openByWays, RelayClient, Ways } from '../../../src/index.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { MAC } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const BYTES = randomBytes(20_000);

const resources = new AsyncDisposableStack();
let url = '';

beforeAll(async () => {
  ({ url } = resources.use(await startRouter()));
});
afterAll(() => resources.disposeAsync());

test.each(['websocket', 'sse'] as const)(
  'a small dataset comes by one request, digest included, over %s',
  async (transport) => {
    await using _node = await startOwnConnector(url, BYTES, { transport });
    const requests: string[] = [];
    const client = new RelayClient({
      baseUrl: url,
      fetch: (input, init) => {
        requests.push(String(input));
        return fetch(input, init);
      },
    });
    const content = await openByWays(client, { mac: MAC, dataset: 'a.csv' }, new Ways());
    const bytes = Buffer.from(await new Response(content.body).arrayBuffer());
    const sha256 = createHash('sha256').update(bytes).digest('base64');
    expect([bytes.equals(BYTES), await content.digest()]).toEqual([true, `sha-256=:${sha256}:`]);
    expect(requests).toEqual([`${url}/datasets/request-stream`]);
  },
);
