import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { WebSocket } from 'ws';
import type { Mac } from '../../../src/protocol/mac.ts';
import type { TokenClaims } from '../../../src/protocol/token.ts';
import { signToken } from '../../../src/router/access/token.ts';
import { ask, call, speak } from '../../support/plain-app.ts';
import { MAC, PlainConnector } from '../../support/plain-connector.ts';
import { startRouter } from '../../support/router.ts';

const SECRET = 'a secret of more than thirty-two characters';
const OTHER_MAC = 'cc-28-aa-01-02-04' as Mac;
const ASK = { mac: MAC, dataset: 'a.csv' };

const bearer = (token: string): { Authorization: string } => ({ Authorization: `Bearer ${token}` });
const token = (claims: Partial<TokenClaims>): Promise<string> =>
  signToken({ role: 'app', macs: [MAC as Mac], datasets: ['**'], ...claims }, SECRET);
const connectorToken = (mac: string = MAC): Promise<string> =>
  signToken({ role: 'connector', macs: [mac as Mac] }, SECRET);

let router: Awaited<ReturnType<typeof startRouter>>;
let app: string;
let monitor: string;
beforeAll(async () => {
  router = await startRouter({ secrets: () => SECRETS });
  app = await token({});
  monitor = await token({ role: 'monitor', macs: ['*'] });
});
afterAll(async () => {
  await router[Symbol.asyncDispose]();
});
const SECRETS = [SECRET];

/** Every endpoint that asks for a token, and the role that it is for. */
const GUARDED: [string, string, readonly string[]][] = [
  ['POST', '/datasets/request-sync', ['app']],
  ['POST', '/datasets/request-stream', ['app']],
  ['POST', '/datasets/request-offload', ['app']],
  ['POST', '/datasets/request-digest', ['app']],
  ['POST', '/datasets/sign', ['app']],
  ['GET', '/requests/abc', ['app']],
  ['DELETE', '/requests/abc', ['app']],
  ['HEAD', `/connectors/${MAC}/datasets/a.csv`, ['app']],
  ['GET', `/connectors/${MAC}/datasets/a.csv`, ['app']],
  ['GET', '/connectors', ['app', 'monitor']],
  ['GET', `/connectors/${MAC}`, ['app', 'monitor']],
  ['GET', `/connectors/${MAC}/datasets`, ['app', 'monitor']],
  ['GET', `/connectors/${MAC}/datasets/`, ['app', 'monitor']],
  ['GET', `/connectors/${MAC}/datasets/a/`, ['app', 'monitor']],
  ['GET', '/metrics', ['monitor']],
  ['GET', '/nothing-here', ['app', 'monitor']],
  ['GET', `/connectors/${MAC}/events`, ['connector']],
  ['GET', `/connectors/${MAC}/socket`, ['connector']],
  ['POST', `/connectors/${MAC}/heartbeat`, ['connector']],
  ['POST', '/datasets/result', ['connector']],
  ['POST', '/datasets/stream/init', ['connector']],
  ['POST', '/datasets/stream/chunk', ['connector']],
  ['POST', '/datasets/stream/complete', ['connector']],
  ['POST', '/datasets/offload/parts', ['connector']],
  ['POST', '/datasets/offload/progress', ['connector']],
];

describe('a router with a secret', () => {
  test.each(GUARDED)('asks for a token at %s %s, in both ways that there are', async (method, path) => {
    const answer = await call(router.url, method, path);
    expect(answer.status).toBe(401);
    const challenges = answer.headers['www-authenticate'];
    expect(challenges).toBe('Bearer realm="relay", Basic realm="relay", charset="UTF-8"');
  });

  test.each(GUARDED)('refuses tokens of other roles at %s %s', async (method, path, allowed) => {
    for (const role of ['app', 'monitor', 'connector'] as const) {
      // A link that is accepted is never answered to its end.
      if (path.endsWith('/events') && allowed.includes(role)) continue;
      const { status } = await call(router.url, method, path, bearer(await token({ role, macs: ['*'] })));
      if (allowed.includes(role)) expect([401, 403]).not.toContain(status);
      else expect(status).toBe(403);
    }
  });

  test.each(['/healthz', '/readyz'])('answers %s to everybody, by any name and through proxies', async (path) => {
    const { status } = await call(router.url, 'GET', path, { Host: 'relay.example.com', 'X-Forwarded-For': '1.2.3.4' });
    expect(status).toBe(200);
  });

  test('takes a token as the password of HTTP Basic', async () => {
    const basic = `Basic ${Buffer.from(`anybody:${monitor}`).toString('base64')}`;
    expect((await call(router.url, 'GET', '/connectors', { Authorization: basic })).status).toBe(200);
    const wrong = `Basic ${Buffer.from(`${monitor}:`).toString('base64')}`;
    expect((await call(router.url, 'GET', '/connectors', { Authorization: wrong })).status).toBe(401);
  });

  test.each([
    ['garbage', 'garbage'],
    ['nothing', ''],
    [
      'alg none',
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"role":"monitor","macs":["*"]}').toString('base64url')}.`,
    ],
  ])('refuses a token that is %s with 401', async (_, text) => {
    const answer = await call(router.url, 'GET', '/connectors', bearer(text));
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ code: 'unauthorized', retryable: false });
  });

  test('says of an expired token that it is', async () => {
    const expired = await token({ exp: Math.floor(Date.now() / 1000) - 1 });
    const answer = await ask(router.url, '/datasets/request-sync', ASK, bearer(expired)).answer;
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ detail: expect.stringContaining('expired') });
  });

  test('refuses web pages of other origins, with a token as well, and takes its own', async () => {
    const evil = await call(router.url, 'GET', '/connectors', { ...bearer(app), Origin: 'https://evil.example' });
    expect(evil.status).toBe(403);
    const own = await call(router.url, 'GET', '/connectors', { ...bearer(app), Origin: router.url });
    expect(own.status).toBe(200);
  });

  test('counts what it refuses', async () => {
    await call(router.url, 'GET', '/connectors', bearer('garbage'));
    const { bytes } = await call(router.url, 'GET', '/metrics', bearer(monitor));
    expect(bytes.toString()).toMatch(/^relay_auth_failures_total\{reason="malformed"\} [1-9]/m);
    expect(bytes.toString()).toMatch(/^relay_auth_failures_total\{reason="missing"\} [1-9]/m);
    expect(bytes.toString()).toMatch(/^relay_auth_failures_total\{reason="forbidden"\} [1-9]/m);
  });
});

describe('an address that presents many bad tokens', () => {
  test('is soon not listened to, but for tokens that the router knows as good', async () => {
    await using own = await startRouter({ secrets: () => SECRETS });
    const list = (text: string): Promise<number> =>
      call(own.url, 'GET', '/connectors', bearer(text)).then(({ status }) => status);
    expect(await list(monitor)).toBe(200);
    const guesses = Promise.all(Array.from({ length: 240 }, (_, index) => list(`${monitor}${index}`)));
    expect(await list(monitor)).toBe(200);
    const statuses = await guesses;
    // Ten have no delay and twenty wait at a time; a first one may be through with that meanwhile.
    const looked = statuses.filter((status) => status === 401).length;
    expect(looked).toBeGreaterThanOrEqual(30);
    expect(looked).toBeLessThan(60);
    const throttled = statuses.filter((status) => status === 429).length;
    expect(looked + throttled).toBe(240);
    const { bytes } = await call(own.url, 'GET', '/metrics', bearer(monitor));
    expect(bytes.toString()).toContain(`\nrelay_auth_failures_total{reason="throttled"} ${throttled}\n`);
    expect(await list(app)).toBe(200);
  });
});

describe('a router without a secret', () => {
  test('lets no web page take the place of a connector', async () => {
    await using own = await startRouter();
    await using connector = await PlainConnector.connect(own.url);
    const page = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' };
    const events = await call(own.url, 'GET', `/connectors/${MAC}/events`, page);
    expect([events.status, events.json()['code']]).toEqual([403, 'forbidden']);
    const { host } = new URL(own.url);
    const upgrade = `Host: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Fetch-Site: cross-site\r\n`;
    const { text } = await speak(
      own.url,
      `GET /connectors/${MAC}/socket HTTP/1.1\r\n${upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    const request = ask(own.url, '/datasets/request-sync');
    const { request_id } = await connector.next();
    await connector.post('/datasets/result', { request_id, data: 'mine' });
    expect((await request.answer).json()).toMatchObject({ data: 'mine' });
  });
});

describe("an app's token", () => {
  test.each(['sync', 'stream', 'offload', 'digest'])(
    'reaches only the connectors and datasets that it names, by request-%s',
    async (kind) => {
      const narrow = bearer(await token({ datasets: ['reports/*'] }));
      const path = `/datasets/request-${kind}`;
      const other = await ask(router.url, path, { mac: OTHER_MAC, dataset: 'reports/a.csv' }, narrow).answer;
      expect([other.status, other.json()['code']]).toEqual([403, 'forbidden']);
      const dataset = await ask(router.url, path, { mac: MAC, dataset: 'secret/a.csv' }, narrow).answer;
      expect([dataset.status, dataset.json()['code']]).toEqual([403, 'forbidden']);
      const offline = await ask(router.url, path, { mac: MAC, dataset: 'reports/a.csv' }, narrow).answer;
      expect(offline.status).toBe(503);
    },
  );

  test.each(['HEAD', 'GET'])('reaches only those by %s of their resource', async (method) => {
    const narrow = bearer(await token({ datasets: ['reports/*'] }));
    const statusOf = async (mac: string, rest: string): Promise<number> =>
      (await call(router.url, method, `/connectors/${mac}/datasets/${rest}`, narrow)).status;
    for (const query of ['', '?via=sync', '?via=stream', '?via=offload']) {
      expect(await statusOf(MAC, `secret.csv${query}`)).toBe(403);
      expect(await statusOf(MAC, `reports/deep/a.csv${query}`)).toBe(403);
      expect(await statusOf(OTHER_MAC, `reports/a${query}`)).toBe(403);
    }
    expect(await statusOf(MAC, 'reports%2f..%2fsecret')).toBe(400);
    expect(await statusOf(MAC, 'reports/a.csv')).toBe(503);
  });

  test('lists only those, page by page as if there were no others', async () => {
    await using own = await startRouter({ secrets: () => SECRETS });
    await using connector = await PlainConnector.connect(own.url, {
      capabilities: 'list',
      token: await connectorToken(),
    });
    await using other = await PlainConnector.connect(own.url, {
      mac: OTHER_MAC,
      token: await connectorToken(OTHER_MAC),
    });
    const narrow = bearer(await token({ datasets: ['b/*'] }));
    const seen = await call(own.url, 'GET', '/connectors', narrow);
    expect((seen.json()['connectors'] as { mac: string }[]).map(({ mac }) => mac)).toEqual([MAC]);
    expect((await call(own.url, 'GET', `/connectors/${OTHER_MAC}`, narrow)).status).toBe(403);
    expect((await call(own.url, 'GET', `/connectors/${OTHER_MAC}/datasets`, narrow)).status).toBe(403);
    const names = ['a/1', 'a/2', 'b/1', 'b/2', 'b/3', 'c/1'];
    const list = async (query: string): Promise<Record<string, unknown>> => {
      const listing = call(own.url, 'GET', `/connectors/${MAC}/datasets${query}`, narrow);
      for (let answered = false; !answered; ) {
        const { request_id, cursor = '', limit } = await connector.next();
        const rest = names.filter((name) => name > String(cursor));
        const page = rest.slice(0, Number(limit));
        const next = rest.length > page.length ? { next: page.at(-1) } : {};
        await connector.post('/datasets/result', {
          request_id,
          datasets: page.map((name) => ({ name, size: 1 })),
          ...next,
        });
        const shown = page.filter((name) => name.startsWith('b/')).length;
        answered = !('next' in next) || shown > 0;
        if (shown > 0 && shown < Number(limit) && 'next' in next) answered = false;
      }
      return (await listing).json();
    };
    expect(await list('?limit=2')).toEqual({
      datasets: [
        { name: 'b/1', size: 1 },
        { name: 'b/2', size: 1 },
      ],
      next: 'b/2',
    });
    expect(await list('?limit=2&cursor=b/2')).toEqual({ datasets: [{ name: 'b/3', size: 1 }] });
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
  });

  test('follows and cancels only its own kind of requests', async () => {
    await using connector = await PlainConnector.connect(router.url, { token: await connectorToken() });
    const wide = bearer(app);
    const asked = await ask(router.url, '/datasets/request-offload', ASK, { ...wide, Prefer: 'respond-async' }).answer;
    expect(asked.status).toBe(202);
    const id = String(asked.json()['request_id']);
    await connector.next();
    for (const claims of [{ datasets: ['b.csv'] }, { macs: [OTHER_MAC] }]) {
      const narrow = bearer(await token(claims));
      expect((await call(router.url, 'GET', `/requests/${id}`, narrow)).status).toBe(403);
      expect((await call(router.url, 'DELETE', `/requests/${id}`, narrow)).status).toBe(403);
    }
    expect((await call(router.url, 'GET', `/requests/${id}`, wide)).json()).toMatchObject({ state: 'running' });
    expect((await call(router.url, 'DELETE', `/requests/${id}`, wide)).status).toBe(204);
  });
});

describe("a connector's token", () => {
  test('opens the link of its own MAC address only, over WebSocket and SSE', async () => {
    const foreign = await connectorToken(OTHER_MAC);
    await expect(PlainConnector.connect(router.url, { token: foreign })).rejects.toThrow(/403/);
    expect((await call(router.url, 'GET', `/connectors/${MAC}/events`, bearer(foreign))).status).toBe(403);
    expect((await call(router.url, 'POST', `/connectors/${MAC}/heartbeat`, bearer(foreign))).status).toBe(403);
    await expect(PlainConnector.connect(router.url)).rejects.toThrow(/401/);
    for (const other of [app, monitor]) {
      await expect(PlainConnector.connect(router.url, { token: other })).rejects.toThrow(/403/);
    }
    const exp = Math.floor(Date.now() / 1000) - 1;
    const expired = await signToken({ role: 'connector', macs: [MAC as Mac], exp }, SECRET);
    for (const bad of ['garbage', expired]) {
      await expect(PlainConnector.connect(router.url, { token: bad })).rejects.toThrow(/401/);
    }
    await using _ = await PlainConnector.connect(router.url, { token: await connectorToken() });
  });

  test('is asked for with its challenges in the refusal of an upgrade', async () => {
    const { host } = new URL(router.url);
    const head = `GET /connectors/${MAC}/socket HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    const { text } = await speak(
      router.url,
      `${head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 401 /);
    expect(text).toMatch(/\r\nWWW-Authenticate: Bearer realm="relay"\r\nWWW-Authenticate: Basic realm="relay"/);
    expect(text).toContain('"code":"unauthorized"');
  });

  test('answers only what its own connector was asked, and what another sends changes nothing', async () => {
    await using connector = await PlainConnector.connect(router.url, {
      capabilities: 'binary',
      token: await connectorToken(),
    });
    await using thief = await PlainConnector.connect(router.url, {
      mac: OTHER_MAC,
      token: await connectorToken(OTHER_MAC),
    });
    const request = ask(router.url, '/datasets/request-stream', ASK, bearer(app));
    const { request_id } = await connector.next();
    const stolen = [
      await thief.post('/datasets/result', { request_id, data: 'stolen' }),
      await thief.post('/datasets/result', { request_id, error: { code: 'dataset_not_found', message: '' } }),
      await thief.post('/datasets/stream/init', { request_id, total_size: 6 }),
      await thief.post('/datasets/stream/chunk', { request_id, offset: 0, data: 'stolen' }),
      await thief.post('/datasets/stream/complete', { request_id, total_size: 0 }),
      await thief.post('/datasets/offload/progress', { request_id, bytes_done: 1, total_size: 2 }),
      await thief.post('/datasets/offload/parts', { request_id, part_numbers: [1] }),
      await thief.postBytes('/datasets/result', request_id, 'stolen'),
      await thief.postBytes('/datasets/stream/chunk', request_id, 'stolen', { 'Relay-Offset': '0' }),
    ];
    expect(stolen.map(({ status }) => status)).toEqual(stolen.map(() => 403));
    await connector.post('/datasets/stream/init', { request_id, total_size: 4 });
    await connector.post('/datasets/stream/chunk', { request_id, data: 'mine' });
    const done = await connector.post('/datasets/stream/complete', { request_id, total_size: 4 });
    expect(done.status).toBe(200);
    expect((await request.answer).bytes.toString()).toBe('mine');
    // Nor does it learn what became of it.
    expect((await thief.post('/datasets/stream/complete', { request_id, total_size: 4 })).status).toBe(403);
    expect((await connector.post('/datasets/stream/complete', { request_id, total_size: 4 })).body).toEqual(done.body);
  });

  test('shows when it expires, and the link ends then with 4001', async () => {
    const exp = Math.floor(Date.now() / 1000) + 2;
    const short = await signToken({ role: 'connector', macs: [MAC as Mac], exp }, SECRET);
    await using connector = await PlainConnector.connect(router.url, { token: short });
    const { token_expires_at } = (await call(router.url, 'GET', `/connectors/${MAC}`, bearer(app))).json();
    expect(token_expires_at).toBe(new Date(exp * 1000).toISOString());
    const [code, reason] = (await once(connector.socket, 'close')) as [number, Buffer];
    expect([code, reason.toString()]).toEqual([4001, 'the token has expired']);
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000);
  });

  test.each(['expires', 'loses its secret'])(
    'that %s still answers what its link was asked, and nothing else',
    async (how) => {
      const next = `${SECRET}, the next one`;
      let secrets: readonly string[] = [next, SECRET];
      await using own = await startRouter({ secrets: () => secrets, reconnectWaitMs: 10_000 });
      const claims: TokenClaims = { role: 'connector', macs: [MAC as Mac] };
      const exp = how === 'expires' ? Math.floor(Date.now() / 1000) + 3 : undefined;
      const capabilities = 'binary,offset';
      await using connector = await PlainConnector.connect(own.url, {
        capabilities,
        token: await signToken({ ...claims, exp }, SECRET),
      });
      // As good as that one, but no link was ever opened with it.
      const unused = bearer(await signToken({ ...claims, exp }, SECRET));
      const asApp = bearer(await signToken({ role: 'app', macs: ['*'], datasets: ['**'] }, next));
      const streamed = ask(own.url, '/datasets/request-stream', ASK, asApp);
      const { request_id } = await connector.next();
      const offloaded = ask(own.url, '/datasets/request-offload', ASK, asApp);
      const offload = await connector.next();
      await connector.post('/datasets/stream/init', { request_id, total_size: 4, etag: '"1"' });
      const { request, reply } = connector.begin('/datasets/stream/chunk', request_id, { 'Relay-Offset': '0' });
      request.write('m');
      await streamed.response;
      if (how === 'loses its secret') secrets = [next];
      const [code] = (await once(connector.socket, 'close')) as [number];
      expect(code).toBe(4001);

      const complete = { request_id, total_size: 4 };
      expect((await ask(own.url, '/datasets/stream/complete', complete, unused).answer).status).toBe(401);
      expect((await connector.post(`/connectors/${MAC}/heartbeat`, {})).status).toBe(401);
      request.end('i');
      expect((await reply).status).toBe(200);
      const rest = await connector.postBytes('/datasets/stream/chunk', request_id, 'ne', { 'Relay-Offset': '2' });
      expect(rest).toMatchObject({ status: 200, body: { next_offset: 4 } });
      const done = await connector.post('/datasets/stream/complete', complete);
      expect(done.status).toBe(200);
      expect((await streamed.answer).bytes.toString()).toBe('mine');
      const failure = { request_id: offload.request_id, error: { code: 'dataset_not_found', message: 'gone' } };
      expect((await connector.post('/datasets/result', failure)).status).toBe(200);
      expect((await offloaded.answer).status).toBe(404);
      // Sent again, it gets its first reply; a chunk for what is over hears that it is.
      expect(await connector.post('/datasets/stream/complete', complete)).toEqual(done);
      expect((await connector.postBytes('/datasets/stream/chunk', request_id, 'x')).status).toBe(410);

      await using successor = await PlainConnector.connect(own.url, { token: await signToken(claims, next) });
      const later = ask(own.url, '/datasets/request-stream', ASK, asApp);
      const result = { request_id: (await successor.next()).request_id, data: 'new' };
      expect((await connector.post('/datasets/result', result)).status).toBe(401);
      expect((await successor.post('/datasets/result', result)).status).toBe(200);
      expect((await later.answer).bytes.toString()).toBe('new');
    },
  );

  test('ends with 4001 when its secret is taken away, and a link by another secret stays', async () => {
    const next = `${SECRET}, the next one`;
    let secrets: readonly string[] = [SECRET];
    await using own = await startRouter({ secrets: () => secrets });
    await using old = await PlainConnector.connect(own.url, { token: await connectorToken() });
    secrets = [next, SECRET];
    const renewed = await signToken({ role: 'connector', macs: [OTHER_MAC] }, next);
    await using other = await PlainConnector.connect(own.url, { mac: OTHER_MAC, token: renewed });
    secrets = [next];
    const [code] = (await once(old.socket, 'close')) as [number];
    expect(code).toBe(4001);
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
  });
});
