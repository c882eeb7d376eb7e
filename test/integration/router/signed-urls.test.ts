import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { RelayClient } from '../../../src/index.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import type { TokenClaims } from '../../../src/protocol/token.ts';
import { signToken } from '../../../src/router/access/token.ts';
import { startOwnConnector } from '../../support/own-connector.ts';
import { type AppAnswer, ask, call } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { LIMITS, startRouter } from '../../support/router.ts';

const SECRET = 'a secret of more than thirty-two characters';
const NEXT = 'the next secret of more than thirty-two characters';
const TEXT = 'abcdefghijklmnopqrstuvwxyz';
const OWN_STORE = 'https://store.example';
const NOW_S = (): number => Math.floor(Date.now() / 1000);

const token = (claims: Partial<TokenClaims> = {}, secret = SECRET): Promise<string> =>
  signToken({ role: 'app', macs: [MAC as Mac], datasets: ['**'], ...claims }, secret);
const bearer = (text: string): { Authorization: string } => ({ Authorization: `Bearer ${text}` });

interface Signed {
  readonly url: string;
  readonly expires_at: string;
}

describe('a signed URL', () => {
  const resources = new AsyncDisposableStack();
  let url: string;
  let log: string;
  let secrets: readonly string[] = [SECRET];
  beforeAll(async () => {
    log = '';
    const write = (line: string): void => {
      log += line;
    };
    const logger = pino({ level: 'debug' }, { write });
    ({ url } = resources.use(await startRouter({ secrets: () => secrets, logger, offloadOrigins: [OWN_STORE] })));
    const authorization = await signToken({ role: 'connector', macs: [MAC as Mac] }, SECRET);
    resources.use(await startOwnConnector(url, Buffer.from(TEXT), { token: () => authorization }));
  });
  afterAll(() => resources.disposeAsync());

  const sign = async (body: object = {}, claims: Partial<TokenClaims> = {}, secret = SECRET): Promise<AppAnswer> =>
    ask(url, '/datasets/sign', { mac: MAC, dataset: 'a.csv', ...body }, bearer(await token(claims, secret))).answer;
  const signed = async (...args: Parameters<typeof sign>): Promise<Signed> =>
    (await sign(...args)).json() as unknown as Signed;
  const use = (link: string, method = 'GET', headers = {}): Promise<AppAnswer> =>
    call(url, method, link.slice(url.length), headers);

  test('gives its dataset to whoever holds it, whole, in part, and its head', async () => {
    const { url: link, expires_at } = await signed();
    expect(link).toMatch(new RegExp(`^${url}/connectors/${MAC}/datasets/a\\.csv\\?expires=\\d+&signature=[\\w-]{43}$`));
    expect(Math.abs(Date.parse(expires_at) / 1000 - NOW_S() - 3600)).toBeLessThan(5);
    const whole = await use(link);
    expect([whole.status, whole.bytes.toString()]).toEqual([200, TEXT]);
    const part = await use(link, 'GET', { Range: 'bytes=2-4' });
    expect([part.status, part.bytes.toString()]).toEqual([206, 'cde']);
    const head = await use(link, 'HEAD');
    expect([head.status, head.headers['content-length']]).toEqual([200, '26']);
    // A page elsewhere may lead here, as to a signed URL of the store.
    expect((await use(link, 'GET', { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' })).status).toBe(200);
    expect((await use(link, 'GET', { Origin: 'https://elsewhere.example' })).status).toBe(403);
  });

  test('is for nothing else', async () => {
    const { url: link } = await signed();
    const query = link.slice(link.indexOf('?'));
    for (const [method, path] of [
      ['GET', `/connectors/${MAC}/datasets/b.csv`],
      ['GET', '/connectors/cc-28-aa-01-02-04/datasets/a.csv'],
    ] as const) {
      const answer = await call(url, method, path + query);
      expect([answer.status, answer.json()]).toEqual([403, expect.objectContaining({ code: 'forbidden' })]);
    }
    for (const [method, path] of [
      ['GET', `/connectors/${MAC}/datasets`],
      ['GET', `/connectors/${MAC}/datasets/`],
      ['GET', '/connectors'],
      ['POST', '/datasets/sign'],
      ['POST', '/datasets/request-stream'],
    ] as const)
      expect((await call(url, method, path + query)).status).toBe(401);
    expect((await call(url, 'DELETE', `/connectors/${MAC}/datasets/a.csv${query}`)).status).not.toBe(204);
  });

  test('is void when anything in it was changed, also beside a good token, and says when it has expired', async () => {
    const { url: link } = await signed();
    const forged = link.replace(/expires=\d+/, `expires=${NOW_S() + 99_999}`);
    const answer = await use(forged, 'GET', bearer(await token()));
    expect([answer.status, answer.json()]).toEqual([403, expect.objectContaining({ code: 'forbidden' })]);
    const { url: brief } = await signed({ expires_in: 1 });
    let last = await use(brief);
    while (last.status === 200) last = await use(brief);
    expect([last.status, last.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'url_expired', retryable: false }),
    ]);
  });

  test('never outlives the token that it was asked for with', async () => {
    const exp = NOW_S() + 60;
    expect((await signed({ expires_in: 7200 }, { exp })).expires_at).toBe(new Date(exp * 1000).toISOString());
    expect((await signed({ expires_in: 30 }, { exp })).expires_at < new Date(exp * 1000).toISOString()).toBe(true);
    // Its secret is a part of that.
    secrets = [NEXT, SECRET];
    const { url: old } = await signed();
    const { url: renewed } = await signed({}, {}, NEXT);
    expect([(await use(old)).status, (await use(renewed)).status]).toEqual([200, 200]);
    secrets = [NEXT];
    const gone = await use(old);
    expect([gone.status, gone.json()]).toEqual([403, expect.objectContaining({ code: 'forbidden' })]);
    secrets = [SECRET];
  });

  test.each([
    ['a dataset that the token does not cover', {}, { datasets: ['b/*'] }, 403],
    ['a connector that it does not cover', { mac: 'cc-28-aa-01-02-04' }, {}, 403],
    ['a monitor', {}, { role: 'monitor' as const }, 403],
    ['more than seven days', { expires_in: 7 * 24 * 3600 + 1 }, {}, 400],
    ['no time', { expires_in: 0 }, {}, 400],
    ['parts of a second', { expires_in: 1.5 }, {}, 400],
    ['a name that is none', { dataset: '../x' }, {}, 400],
  ])('is not made for %s', async (_, body, claims, status) => {
    expect((await sign(body, claims)).status).toBe(status);
  });

  test('is not made for who shows no token, and asks no connector', async () => {
    expect((await ask(url, '/datasets/sign').answer).status).toBe(401);
    expect((await sign({ dataset: 'nothing/here.csv' })).status).toBe(200);
  });

  test('carries any name', async () => {
    const client = new RelayClient({ baseUrl: url, token: await token() });
    const { url: link, expires_at } = await client.signedUrl(MAC, 'ü/a?b#c%d e&signature=x.csv', { expiresIn: 60 });
    expect(Date.parse(String(expires_at)) / 1000 - NOW_S()).toBeLessThanOrEqual(60);
    const answer = await use(link);
    expect([answer.status, answer.json()]).toEqual([404, expect.objectContaining({ code: 'dataset_not_found' })]);
  });

  test('leads to no URL of the store that outlives it', async () => {
    const { url: link, expires_at } = await signed({ expires_in: 30 });
    for (const preference of [{}, { Prefer: 'respond-async' }, { Prefer: 'wait=1' }]) {
      const led = await use(`${link}&via=offload`, 'GET', preference);
      // Its holder could not ask how far the request is.
      expect([led.status, led.headers['preference-applied']]).toEqual([307, undefined]);
      const store = new URL(led.headers.location as string);
      expect(Number(store.searchParams.get('expires'))).toBeLessThanOrEqual(Date.parse(expires_at) / 1000);
      expect((await use(store.href)).bytes.toString()).toBe(TEXT);
    }
  });

  test('leads nowhere once it has ended while the dataset was on its way to the store', async () => {
    const mac = 'cc-28-aa-01-02-05';
    const authorization = await signToken({ role: 'connector', macs: [mac as Mac] }, SECRET);
    await using node = await PlainConnector.connect(url, { mac, token: authorization });
    const { url: link } = await signed({ mac, expires_in: 1 }, { macs: [mac as Mac] });
    const app = use(`${link}&via=offload`);
    const { request_id, upload } = await node.next();
    const { url: target, download_url } = upload as Record<string, string>;
    await fetch(target as string, { method: 'PUT', body: TEXT });
    let last = await use(link, 'HEAD');
    while (last.status !== 403) last = await use(link, 'HEAD');
    expect((await node.post('/datasets/result', { request_id, download_url })).status).toBe(200);
    const answer = await app;
    expect([answer.status, answer.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'url_expired', retryable: false }),
    ]);
    expect(answer.headers.location).toBeUndefined();
  });

  test('leads to no store whose URLs end when nobody knows', async () => {
    const mac = 'cc-28-aa-01-02-05';
    const authorization = await signToken({ role: 'connector', macs: [mac as Mac] }, SECRET);
    await using node = await PlainConnector.connect(url, { mac, token: authorization });
    const { url: link } = await signed({ mac }, { macs: [mac as Mac] });
    const app = use(`${link}&via=offload`);
    const { request_id } = await node.next();
    await node.post('/datasets/result', { request_id, download_url: `${OWN_STORE}/a.csv?good=for-ever` });
    const answer = await app;
    expect([answer.status, answer.json()]).toEqual([501, expect.objectContaining({ code: 'offload_unavailable' })]);
    expect(JSON.stringify([answer.headers, answer.json()])).not.toContain(OWN_STORE);
  });

  test.each([
    ['via=sync', 200],
    ['via=stream', 200],
    ['via=offload', 307],
    ['via=offload&via=sync', 307],
    ['via=pigeon', 400],
    ['download=..%2F..%2Fb.csv', 200],
    ['on_change=prefix', 200],
    ['expires=9999999999', 200],
    ['signature=x', 200],
    ['path=b.csv&dataset=b.csv&mac=cc-28-aa-01-02-04&prefix=&glob=**&delimiter=/', 200],
  ])('gives no more with %s added to it', async (added, status) => {
    const { url: link, expires_at } = await signed({ expires_in: 30 });
    const answer = await use(`${link}&${added}`);
    expect(answer.status).toBe(status);
    if (status === 200) expect(answer.bytes.toString()).toBe(TEXT);
    if (status !== 307) return;
    const store = new URL(answer.headers.location as string);
    expect(Number(store.searchParams.get('expires'))).toBeLessThanOrEqual(Date.parse(expires_at) / 1000);
  });

  test.each(['expires=9999999999&', 'signature=x&'])('is void with %s before what was signed', async (added) => {
    const { url: link } = await signed();
    expect((await use(link.replace('?', `?${added}`))).status).toBe(403);
  });

  test('leaves its signature in no log', async () => {
    const { url: link } = await signed();
    const signature = new URL(link).searchParams.get('signature') as string;
    await use(link);
    await use(`${link}x`);
    await use(link.replace('a.csv', 'nothing.csv'));
    expect(log).toContain('refused');
    expect(log).toContain('request done');
    expect(log).not.toContain(signature);
    expect(log).not.toMatch(/signature=[\w-]{20}/);
  });
});

test('requests by signed URLs count for their address', async () => {
  const limits = { ...LIMITS, maxRequestsPerClient: 0 };
  await using router = await startRouter({ secrets: () => SECRETS, limits });
  const answer = await call(router.url, 'GET', `/connectors/${MAC}/datasets/a.csv?expires=9999999999&signature=x`);
  expect(answer.status).toBe(403);
  await using open = await startRouter({ secrets: () => SECRETS });
  const { url: link } = (
    await ask(open.url, '/datasets/sign', { mac: MAC, dataset: 'a.csv' }, bearer(await token())).answer
  ).json() as { url: string };
  // The signature covers nothing of the host, so it holds on any router with the secret.
  const limited = await call(router.url, 'GET', link.slice(open.url.length));
  expect([limited.status, limited.json()]).toEqual([429, expect.objectContaining({ code: 'too_many_requests' })]);
});
const SECRETS = [SECRET];

test('a signed URL has the base by which its router is known, and works behind a prefix', async () => {
  const publicUrl = new URL('https://relay.example.com/plants');
  await using router = await startRouter({ secrets: () => SECRETS, publicUrl });
  const { answer } = ask(router.url, '/plants/datasets/sign', { mac: MAC, dataset: 'a.csv' }, bearer(await token()));
  const { url: link } = (await answer).json() as { url: string };
  expect(link).toMatch(/^https:\/\/relay\.example\.com\/plants\/connectors\//);
  for (const prefix of ['/plants', '']) {
    const seen = await call(router.url, 'GET', prefix + link.slice(publicUrl.href.length));
    expect(seen.status).toBe(503);
  }
});

test('where nobody is asked for a token the URL is the plain one, and has no end', async () => {
  await using router = await startRouter();
  await using _connector = await startOwnConnector(router.url, Buffer.from(TEXT));
  const { answer } = ask(router.url, '/datasets/sign', { mac: MAC, dataset: 'a.csv', expires_in: 60 });
  const signed = (await answer).json();
  expect(signed).toEqual({ url: `${router.url}/connectors/${MAC}/datasets/a.csv`, expires_at: null });
  expect((await call(router.url, 'GET', `/connectors/${MAC}/datasets/a.csv`)).bytes.toString()).toBe(TEXT);
});

test('no URL of the store outlives the token of whoever it is given to', async () => {
  await using router = await startRouter({ secrets: () => SECRETS });
  const authorization = await signToken({ role: 'connector', macs: [MAC as Mac] }, SECRET);
  await using _connector = await startOwnConnector(router.url, Buffer.from(TEXT), { token: () => authorization });
  const exp = NOW_S() + 60;
  const [brief, lasting] = [bearer(await token({ exp })), bearer(await token())];
  const end = new Date(exp * 1000).toISOString();
  const given = (await ask(router.url, '/datasets/request-offload', undefined, brief).answer).json();
  expect(given['expires_at']).toBe(end);
  expect(Number(new URL(given['download_url'] as string).searchParams.get('expires'))).toBe(exp);
  // Whoever looks at a request gets a URL of their own.
  const later = await ask(router.url, '/datasets/request-offload', undefined, { ...lasting, Prefer: 'wait=30' }).answer;
  const path = `/requests/${later.headers['relay-request-id'] as string}`;
  expect((await call(router.url, 'GET', path, brief)).json()['expires_at']).toBe(end);
  const hour = Date.parse(String((await call(router.url, 'GET', path, lasting)).json()['expires_at']));
  expect(Math.abs(hour / 1000 - NOW_S() - 3600)).toBeLessThan(10);
  const asynchronous = { ...brief, Prefer: 'wait=30' };
  const accepted = await ask(router.url, '/datasets/request-offload', undefined, asynchronous).answer;
  expect([accepted.status, accepted.json()['expires_at']]).toEqual([202, end]);
  const led = await call(router.url, 'GET', `/connectors/${MAC}/datasets/a.csv?via=offload`, brief);
  expect(Number(new URL(led.headers.location as string).searchParams.get('expires'))).toBe(exp);
});
