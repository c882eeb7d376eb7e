import { describe, expect, test } from '@jest/globals';
import { RelayClient } from '../../../src/index.ts';
import { digestOf, MAC, sendJson, serve, statusOf } from './stub-server.ts';

const WISH = { minAgeMs: 2500 };

/** A router from before there was `min_age`: it answers as if nothing had been asked. */
const older = () =>
  serve(({ method, url }, response) => {
    if (url.includes('/request-offload') || url.includes('/request-digest'))
      return sendJson(response, 202, statusOf('waiting'));
    if (method === 'HEAD' || url.includes('/datasets/a')) {
      response.writeHead(url.includes('/datasets/a') && method === 'GET' ? 206 : 200, {
        'Content-Range': 'bytes 1-2/3',
        ETag: '"v"',
      });
      response.end(method === 'HEAD' ? undefined : 'bc');
      return;
    }
    sendJson(response, 200, {
      datasets: [],
      status: 'success',
      data: 'abc',
      encoding: 'utf8',
      size: 3,
      digest: digestOf('abc'),
    });
  });

describe('a client that asks for a least age', () => {
  const calls: [string, (client: RelayClient) => Promise<unknown>][] = [
    ['stat', (client) => client.stat(MAC, 'a', WISH)],
    ['datasets', (client) => client.datasets(MAC, WISH).next()],
    ['requestSync', (client) => client.requestSync(MAC, 'a', WISH)],
    ['requestSyncBytes', (client) => client.requestSyncBytes(MAC, 'a', WISH)],
    ['requestStream', (client) => client.requestStream(MAC, 'a', WISH)],
    [
      'requestStream of the rest',
      (client) => client.requestStream(MAC, 'a', { ...WISH, known: { etag: '"v"', size: 3, offset: 1 } }),
    ],
    ['requestOffload', (client) => client.requestOffload(MAC, 'a', WISH)],
    ['requestDigest', (client) => client.requestDigest(MAC, 'a', WISH)],
    ['open', (client) => client.open(MAC, 'a', WISH)],
    ['open of a part', (client) => client.open(MAC, 'a', { ...WISH, offset: 1 })],
  ];

  test.each(calls)('says so in seconds, and takes nothing of a router that passes over it: %s', async (_, ask) => {
    await using router = await older();
    const client = new RelayClient({ baseUrl: router.url });
    await expect(ask(client)).rejects.toMatchObject({ code: 'not_supported' });
    const [seen] = router.seen;
    expect(`${seen?.url} ${seen?.body}`).toMatch(/\bmin_age=2\.5\b|"min_age":2\.5\b/);
  });

  test('says nothing where any age will do', async () => {
    await using router = await older();
    const client = new RelayClient({ baseUrl: router.url });
    await client.requestSync(MAC, 'a', { minAgeMs: 0 });
    await client.stat(MAC, 'a', { minAgeMs: undefined });
    for (const { url, body } of router.seen) expect(`${url} ${body}`).not.toMatch(/min_age/);
  });
});
