import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http, { type RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { openConnections } from '../../../../src/cli/app/dispatcher.ts';
import { createAgents } from '../../../../src/connector/http/agents.ts';
import { send } from '../../../../src/connector/http/send.ts';
import type { ChooseProxy } from '../../../../src/http/proxy/choose-proxy.ts';
import { findProxyError } from '../../../../src/http/proxy/proxy-error.ts';
import { createTrust, type Trust } from '../../../../src/http/trust.ts';
import { RelayError } from '../../../../src/protocol/errors.ts';
import { makeCertificates } from '../../../support/authority.ts';
import { makeTempDir } from '../../../support/router.ts';
import { ForwardProxy } from './forward-proxy.ts';

const CREDENTIALS = 'us%20er:p%40ss%3Aword';
const AUTHORIZATION = `Basic ${Buffer.from('us er:p@ss:word').toString('base64')}`;

const resources = new AsyncDisposableStack();
const targets = { http: '', https: '' };
const proxies: Record<'http' | 'https', ForwardProxy> = Object.create(null);
let authority = '';
let trust: Trust;

beforeAll(async () => {
  const directory = resources.use(await makeTempDir());
  const files = await makeCertificates(directory.path, 'IP:127.0.0.1');
  const tls = { cert: await readFile(files.cert), key: await readFile(files.key) };
  authority = await readFile(files.ca, 'utf8');
  trust = createTrust(() => authority);
  const answer: RequestListener = (request, response) => {
    request.resume();
    request.on('end', () => response.end(`${request.method} ${request.url} ${request.headers.host}`));
  };
  for (const [scheme, server] of [
    ['http', http.createServer(answer)],
    ['https', https.createServer(tls, answer)],
  ] as const) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    targets[scheme] = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
    resources.defer(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
  }
  proxies.http = resources.use(await ForwardProxy.start());
  proxies.https = resources.use(await ForwardProxy.start(tls));
});

afterAll(() => resources.disposeAsync());

/** The two ways by which relay makes requests. */
const CLIENTS = {
  connector: (chooseProxy: ChooseProxy, trusted: Trust) => {
    const agents = createAgents(chooseProxy, trusted);
    const get = async (url: string): Promise<string> => {
      const sending = { method: 'POST', headers: {}, body: '', silenceMs: 10_000 } as const;
      const reply = await send(agents, { ...sending, url: new URL(url), signal: new AbortController().signal });
      return `${reply.status} ${reply.body.toString()}`;
    };
    return { get, close: async () => agents.close() };
  },
  app: (chooseProxy: ChooseProxy, trusted: Trust) => {
    const { fetch, close } = openConnections(chooseProxy, trusted, 60_000);
    const get = async (url: string): Promise<string> => {
      const response = await fetch(url, { method: 'POST' });
      return `${response.status} ${await response.text()}`;
    };
    return { get, close };
  },
} as const;

test.each(['connector', 'app'] as const)(
  '%s trusts whom it is told to by the time of a new connection',
  async (client) => {
    const directory = resources.use(await makeTempDir());
    const other = await readFile((await makeCertificates(directory.path, 'IP:127.0.0.1')).ca, 'utf8');
    let ca = other;
    const connections = CLIENTS[client](
      () => undefined,
      createTrust(() => ca),
    );
    await expect(connections.get(targets.https)).rejects.toMatchObject({
      message: expect.stringMatching(/certificate|fetch failed/),
    });
    ca = authority;
    expect(await connections.get(targets.https)).toMatch(/^200 /);
    await connections.close();
  },
);

const CASES = (['connector', 'app'] as const).flatMap((client) =>
  (['http', 'https'] as const).flatMap((proxy) =>
    (['http', 'https'] as const).map((target) => ({ client, proxy, target })),
  ),
);

describe.each(CASES)('$client by a proxy of $proxy to a target of $target', ({ client, proxy: kind, target }) => {
  const proxy = (): ForwardProxy => proxies[kind];
  const url = (): URL => new URL(`${kind}://${CREDENTIALS}@127.0.0.1:${proxy().port}`);
  const open = (trusted = trust): AsyncDisposable & { get: (url: string) => Promise<string> } => {
    const opened = CLIENTS[client](() => url(), trusted);
    return { get: opened.get, [Symbol.asyncDispose]: opened.close };
  };

  test('gets through, with the credentials as they are meant', async () => {
    await using connections = open();
    const before = proxy().requests.length;
    const { host } = new URL(targets[target]);
    expect(await connections.get(`${targets[target]}/a%20b?c=d`)).toBe(`200 POST /a%20b?c=d ${host}`);
    const asked = proxy().requests.slice(before);
    const isTunnel = target === 'https';
    expect(asked.map(({ line }) => line)).toEqual(isTunnel ? [`CONNECT ${host}`] : [`POST ${targets.http}/a%20b?c=d`]);
    expect(new Set(asked.map(({ authorization }) => authorization))).toEqual(new Set([AUTHORIZATION]));
  });

  test('tells a refusal from an answer of the target, without the password', async () => {
    await using connections = open();
    proxy().refusal = 407;
    const thrown: unknown = await connections.get(targets[target]).then(
      () => undefined,
      (error: unknown) => error,
    );
    proxy().refusal = undefined;
    const refusal = findProxyError(thrown);
    expect(refusal?.code).toBe('unauthorized');
    expect(refusal?.message).toContain(`the proxy ${kind}://127.0.0.1:${proxy().port} asks for credentials`);
    expect(refusal?.message).not.toMatch(/p@ss|p%40ss/);
  });

  if (target === 'https') {
    test('verifies the target through the tunnel', async () => {
      const isProxyTrusted = kind === 'http';
      await using connections = open(createTrust(undefined));
      const thrown: unknown = await connections.get(targets.https).catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(Error);
      const error = findProxyError(thrown);
      // The proxy's own certificate is not taken either.
      expect(error?.message ?? '').toMatch(
        isProxyTrusted ? /^(?!.*proxy)/ : /the proxy .* cannot be reached: .*certificate/,
      );
    });

    test('gives up a tunnel that is being opened when it is closed', async () => {
      await using own = await ForwardProxy.start();
      own.refusal = 0;
      const opened = CLIENTS[client](() => new URL(`http://127.0.0.1:${own.port}`), trust);
      const attempt = opened.get(targets.https).catch((thrown: unknown) => thrown);
      await own.asked;
      await opened.close();
      expect(await attempt).toBeInstanceOf(Error);
      await own.closed;
    });
  }
});

test('a tunnel is kept for the next request', async () => {
  await using proxy = await ForwardProxy.start();
  const { get, close } = CLIENTS.connector(() => new URL(`http://127.0.0.1:${proxy.port}`), trust);
  for (const path of ['/1', '/2']) expect(await get(`${targets.https}${path}`)).toMatch(`POST ${path}`);
  await close();
  expect(proxy.requests).toHaveLength(1);
});

test.each([
  [403, 'forbidden', false],
  [405, 'forbidden', false],
  [502, 'router_unreachable', true],
  [503, 'router_unreachable', true],
] as const)('a proxy that answers CONNECT with %d: %s', async (status, code, retryable) => {
  await using proxy = await ForwardProxy.start();
  proxy.refusal = status;
  const agents = createAgents(() => new URL(`http://127.0.0.1:${proxy.port}`), trust);
  const signal = new AbortController().signal;
  const sending = { method: 'POST', headers: {}, body: '', silenceMs: 10_000, signal } as const;
  const error: unknown = await send(agents, { ...sending, url: new URL(targets.https) }).catch((e: unknown) => e);
  agents.close();
  expect(error).toBeInstanceOf(RelayError);
  expect(error).toMatchObject({ code, retryable });
});
