import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { silentLogger } from '../../../../src/observability/logger.ts';
import { Access, type Scope } from '../../../../src/router/access/access.ts';
import { Cors } from '../../../../src/router/access/cors.ts';
import { BaseUrl } from '../../../../src/router/base-url.ts';

const PUBLIC = 'https://relay.example.com';

/** What a request looks like to those who judge it. */
function asked(
  headers: Record<string, string | undefined>,
  { secure = false, address = '127.0.0.1', method = 'GET' } = {},
) {
  const socket = { localAddress: address, localPort: 8080, ...(secure && { encrypted: true }) };
  return { method, headers, socket } as unknown as IncomingMessage;
}

function makeAccess({
  allowNoAuth,
  publicUrl,
  corsOrigins = [],
}: {
  allowNoAuth: boolean;
  publicUrl?: string;
  corsOrigins?: string[];
}): Access {
  const baseUrl = new BaseUrl(publicUrl === undefined ? undefined : new URL(publicUrl));
  return new Access({
    secrets: undefined,
    allowNoAuth,
    cors: new Cors(corsOrigins),
    originOf: (request) => URL.parse(baseUrl.of(request))?.origin ?? '',
    addressOf: () => '127.0.0.1',
    findAsked: () => undefined,
    countFailure: () => {},
    logger: silentLogger(),
  });
}

const check = (access: Access, headers: Record<string, string | undefined>, secure = false): (() => void) => {
  return () => access.admit(asked(headers, { secure }), 'app');
};
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'forbidden', message: expect.stringMatching(message) });

describe('a router without access control', () => {
  const access = makeAccess({ allowNoAuth: false });

  test.each([
    'localhost',
    'localhost:8080',
    'LOCALHOST:8080',
    'relay.localhost:8080',
    '127.0.0.1',
    '127.0.0.1:1',
    '127.8.9.10:8080',
    '[::1]',
    '[::1]:8080',
  ])('answers to Host %s', (host) => {
    expect(check(access, { host })).not.toThrow();
  });

  test('answers to a client of HTTP/1.0 that names no host', () => {
    expect(check(access, {})).not.toThrow();
  });

  test.each([
    '',
    'relay.example.com',
    'localhost.example.com',
    'notlocalhost',
    '127.0.0.1.example.com',
    '128.0.0.1',
    '0.0.0.0',
    '10.0.0.1:8080',
    '[::]',
    '[::2]:80',
    'evil.com/localhost',
    'localhost@evil.com',
    'user@localhost',
    ':password@localhost',
    'localhost/evil',
    'localhost?evil',
    'localhost#evil',
    'localhost\\evil',
    'localhost:99999',
    '%00',
  ])('does not answer to Host %p', (host) => {
    expect(check(access, { host })).toThrow(refusal(/loopback/));
  });

  test.each([
    'forwarded',
    'via',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-forwarded-port',
    'x-forwarded-server',
    'x-forwarded-prefix',
    'x-forwarded-client-cert',
  ])('answers nothing that carries %s, and names it', (name) => {
    expect(check(access, { host: 'localhost', [name]: 'x' })).toThrow(refusal(new RegExp(name)));
  });

  test.each(['app', 'connector', 'public', 'signed'] as Scope[])('is as strict for what is %s', (scope) => {
    expect(() => access.admit(asked({ host: 'evil.com' }), scope)).toThrow(refusal(/Host/));
  });
});

describe('the origin of a web page', () => {
  test.each([true, false])('may be the own one (without access control: %p)', (allowNoAuth) => {
    const access = makeAccess({ allowNoAuth });
    expect(check(access, { host: 'localhost:8080', origin: 'http://localhost:8080' })).not.toThrow();
    expect(check(access, { host: 'localhost:8080', origin: 'https://localhost:8080' }, true)).not.toThrow();
  });

  test.each([
    'http://evil.com',
    'null',
    '',
    'http://localhost',
    'http://localhost:8081',
    'https://localhost:8080',
    PUBLIC,
  ])('may not be %p', (origin) => {
    for (const allowNoAuth of [true, false]) {
      expect(check(makeAccess({ allowNoAuth }), { host: 'localhost:8080', origin })).toThrow(refusal(/origin/));
    }
  });

  test('may be that of the public URL', () => {
    const access = makeAccess({ allowNoAuth: true, publicUrl: PUBLIC });
    expect(check(access, { host: 'inside:8080', origin: PUBLIC })).not.toThrow();
    expect(check(access, { host: 'inside:8080', origin: `${PUBLIC}.evil.com` })).toThrow(refusal(/origin/));
  });
});

describe('an origin that may ask', () => {
  const ORIGIN = 'https://dash.example';
  const allowing = (...corsOrigins: string[]): Access => makeAccess({ allowNoAuth: false, corsOrigins });
  const from = (origin: string, more = {}): IncomingMessage => asked({ host: 'localhost:8080', origin, ...more });

  test('does so as an app, and not as a node', () => {
    for (const scope of ['app', 'listing', 'metrics', 'public', 'signed'] as Scope[])
      expect(() => allowing(ORIGIN).admit(from(ORIGIN), scope)).not.toThrow();
    for (const scope of ['connector', 'answer'] as Scope[])
      expect(() => allowing(ORIGIN, '*').admit(from(ORIGIN), scope)).toThrow(refusal(/origin/));
  });

  test('is that one alone, to the letter', () => {
    for (const origin of ['http://dash.example', 'https://dash.example:8443', `${ORIGIN}.evil.com`, 'null', ''])
      expect(() => allowing(ORIGIN).admit(from(origin), 'app')).toThrow(refusal(/origin/));
  });

  test('is not believed a password that its browser may have remembered, where all may ask', () => {
    const basic = { authorization: 'Basic eDp0b2tlbg==' };
    expect(() => allowing('*').admit(from(ORIGIN, basic), 'app')).toThrow(refusal(/Bearer/));
    expect(() => allowing('*').admit(from(ORIGIN), 'app')).not.toThrow();
    expect(() => allowing('*', ORIGIN).admit(from(ORIGIN, basic), 'app')).not.toThrow();
  });
});

describe('a page of another web site, where the browser names no origin', () => {
  const access = makeAccess({ allowNoAuth: false });
  const host = 'localhost:8080';
  const visit = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
  const ask = (scope: Scope, headers: Record<string, string>, method = 'GET') => {
    return () => access.admit(asked({ host, ...headers }, { method }), scope);
  };

  test.each(['cross-site', 'same-site'])('may ask for nothing (%s)', (site) => {
    const embedded = { 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' };
    for (const scope of ['app', 'listing', 'metrics', 'connector'] as const) {
      expect(ask(scope, embedded)).toThrow(refusal(/web sites/));
      expect(ask(scope, { ...embedded, ...visit, 'sec-fetch-dest': 'iframe' })).toThrow(refusal(/web sites/));
      expect(ask(scope, { ...embedded, ...visit }, 'POST')).toThrow(refusal(/web sites/));
    }
    expect(ask('signed', embedded, 'PUT')).toThrow(refusal(/web sites/));
  });

  test('may link to what an app reads, but to no link of a connector', () => {
    const link = { 'sec-fetch-site': 'cross-site', ...visit };
    for (const scope of ['app', 'listing', 'metrics'] as const) expect(ask(scope, link)).not.toThrow();
    expect(ask('app', link, 'HEAD')).not.toThrow();
    expect(ask('connector', link)).toThrow(refusal(/web sites/));
  });

  test('may embed what a signed URL names, and ask for health', () => {
    const embedded = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' };
    expect(ask('signed', embedded)).not.toThrow();
    expect(ask('public', embedded)).not.toThrow();
  });

  test.each(['same-origin', 'none'])('is not who asks as %s', (site) => {
    expect(ask('connector', { 'sec-fetch-site': site })).not.toThrow();
  });

  test('is not who asks from an origin of the router', () => {
    const own = makeAccess({ allowNoAuth: true, publicUrl: PUBLIC });
    const headers = { host: 'inside:8080', origin: PUBLIC, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' };
    expect(check(own, headers)).not.toThrow();
  });
});

describe('a router that was told to do without access control', () => {
  test('answers to any name, and through proxies', () => {
    const access = makeAccess({ allowNoAuth: true });
    expect(check(access, { host: 'relay.example.com', via: '1.1 proxy', 'x-forwarded-for': '1.2.3.4' })).not.toThrow();
  });
});

describe('the base URL', () => {
  test('is the address by which the one who asks reached the router', () => {
    const base = new BaseUrl(undefined);
    expect(base.of(asked({ host: 'localhost:8080' }))).toBe('http://localhost:8080');
    expect(base.of(asked({ host: 'localhost:8443' }, { secure: true }))).toBe('https://localhost:8443');
    expect(base.of(asked({}))).toBe('http://127.0.0.1:8080');
    expect(base.of(asked({}, { address: '::1' }))).toBe('http://[::1]:8080');
    expect(base.prefix).toBe('');
  });

  test.each([
    ['https://relay.example.com', 'https://relay.example.com', ''],
    ['https://relay.example.com/', 'https://relay.example.com', ''],
    ['https://relay.example.com:8443/a/b/', 'https://relay.example.com:8443/a/b', '/a/b'],
    ['http://relay.example.com/a?x=1#y', 'http://relay.example.com/a', '/a'],
  ])('is the public one where there is one: %s', (url, base, prefix) => {
    const made = new BaseUrl(new URL(url));
    expect(made.of(asked({ host: 'inside' }))).toBe(base);
    expect(made.prefix).toBe(prefix);
  });

  test.each([
    ['/a/b/healthz', '/healthz'],
    ['/healthz', '/healthz'],
    ['/a/b', '/'],
    ['/a/b/', '/'],
    ['/a/bc/healthz', '/a/bc/healthz'],
    ['/a', '/a'],
    ['/a/b//x', '//x'],
  ])('has a prefix that may be there or stripped: %s', (path, stripped) => {
    expect(new BaseUrl(new URL('https://x/a/b')).strip(path)).toBe(stripped);
  });

  test('without a prefix takes paths as they are', () => {
    expect(new BaseUrl(undefined).strip('/a/b')).toBe('/a/b');
  });
});
