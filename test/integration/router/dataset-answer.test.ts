import { expect, test } from '@jest/globals';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const PAGE = '<script>alert(1)</script>';
const ASK = { mac: MAC, dataset: 'page.html' };
const RESOURCE = `/connectors/${MAC}/datasets/page.html`;
const INFO = { name: 'page.html', size: PAGE.length, etag: '"e"', content_type: 'text/html' };

/** Answers as a node does that has a page: what it is in short, and its bytes. */
async function serve(node: PlainConnector): Promise<void> {
  for (;;) {
    const { command, request_id, offset = 0, length = PAGE.length } = await node.next();
    if (command === 'stat') {
      await node.post('/datasets/result', { request_id, dataset: INFO });
      continue;
    }
    const begin = Number(offset);
    await node.postBytes('/datasets/stream/chunk', request_id, PAGE.slice(begin, begin + Number(length)), {
      'Content-Type': 'text/html',
      'Relay-Offset': String(begin),
      'Relay-Total-Size': String(PAGE.length),
      'Relay-Etag': '"e"',
    });
    await node.post('/datasets/stream/complete', { request_id, total_size: PAGE.length });
    return;
  }
}

test.each<[string, number, (url: string) => Promise<AppAnswer>, string?]>([
  ['request-sync in JSON', 200, (url) => ask(url, '/datasets/request-sync', ASK).answer],
  [
    'request-sync in bytes',
    200,
    (url) => ask(url, '/datasets/request-sync', ASK, { Accept: 'application/octet-stream' }).answer,
  ],
  ['request-stream', 200, (url) => ask(url, '/datasets/request-stream', ASK).answer],
  ['GET', 200, (url) => call(url, 'GET', RESOURCE), 'no-cache'],
  ['GET of a range', 206, (url) => call(url, 'GET', RESOURCE, { Range: 'bytes=0-7' }), 'no-cache'],
])('an HTML page of a node is no page of the router, by %s', async (_, status, get, cacheControl = 'no-store') => {
  await using router = await startRouter();
  await using node = await PlainConnector.connect(router.url, { capabilities: 'binary, offset, range, stat' });
  const [answer] = await Promise.all([get(router.url), serve(node)]);
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject({
    'x-content-type-options': 'nosniff',
    'content-security-policy': 'sandbox',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': cacheControl,
  });
  const type = answer.headers['content-type'];
  expect(['application/json', 'application/octet-stream', 'text/html']).toContain(type);
  if (type === 'text/html') expect(answer.headers['content-disposition']).toMatch(/^attachment; filename="page\.html"/);
  else expect(answer.headers['content-disposition']).toBeUndefined();
});
