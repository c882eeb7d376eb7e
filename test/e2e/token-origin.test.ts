import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { startMinio } from '../support/minio.ts';
import { PlainConnector } from '../support/plain-connector.ts';
import { RoleProcess, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';
import { FakeRouter } from '../unit/connector/support-router.ts';

const NODE = 'cc-28-aa-01-02-03';
const LINKS = ['websocket', 'sse'] as const;
const PATTERNS = ['request-sync', 'request-stream', 'request-offload'] as const;
const REDIRECTS = [301, 302, 303, 307, 308] as const;
const TOKEN = 'header.payload.signature';
const SECRET = 'one secret of more than thirty-two characters';

/** A real server of another origin that keeps what it was asked. */
interface Origin extends AsyncDisposable {
  readonly url: string;
  readonly seen: { readonly method: string; readonly path: string; readonly authorization: string | undefined }[];
}

type Answer = (request: IncomingMessage, response: http.ServerResponse) => void;

async function startOrigin(answer: Answer): Promise<Origin> {
  const seen: Origin['seen'] = [];
  const note = ({ method = '', url: path = '', headers: { authorization } }: IncomingMessage): void =>
    void seen.push({ method, path, authorization });
  const server = http.createServer((request, response) => {
    note(request);
    answer(request, response);
  });
  server.on('upgrade', (request: IncomingMessage, socket) => {
    note(request);
    const response = new http.ServerResponse(request);
    response.assignSocket(socket as never);
    response.on('finish', () => socket.end());
    response.shouldKeepAlive = false;
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

const answerOk: Answer = (request, response) => {
  request.resume();
  response.end('abc');
};

/** Sends everybody to the same path elsewhere. */
const redirectTo =
  ({ url }: Origin, status: number): Answer =>
  (request, response) => {
    request.resume();
    response.writeHead(status, { Location: `${url}${request.url}`, 'Content-Length': 0 }).end();
  };

const resources = new AsyncDisposableStack();
let dataDir = '';

beforeAll(async () => {
  dataDir = resources.use(await makeTempDir()).path;
  await writeFile(join(dataDir, 'a.csv'), 'a,b\n');
});

afterAll(() => resources.disposeAsync());

function startConnector(router: string, link: string): RoleProcess {
  const args = ['--router', router, '--mac', NODE, '--data-dir', dataDir, '--transport', link];
  return new RoleProcess(['connector', ...args], { cwd: dataDir, env: { RELAY_TOKEN: TOKEN } });
}

describe.each(REDIRECTS)('a redirect (%d) to another origin', (status) => {
  test('is followed by no app', async () => {
    await using elsewhere = await startOrigin(answerOk);
    await using home = await startOrigin(redirectTo(elsewhere, status));
    for (const pattern of PATTERNS) {
      const args = ['app', pattern, '--router', home.url, NODE, 'a.csv'];
      const { code, stdout, stderr } = await runRelay(args, { env: { RELAY_TOKEN: TOKEN } });
      expect({ code, stdout: stdout.toString() }).toEqual({ code: 8, stdout: '' });
      expect(stderr).toContain(`a redirect to ${elsewhere.url}/datasets/${pattern}: give the router's own address`);
    }
    expect(home.seen.map(({ authorization }) => authorization)).toEqual(PATTERNS.map(() => `Bearer ${TOKEN}`));
    expect(elsewhere.seen).toEqual([]);
  }, 30_000);

  test.each(LINKS)('is followed by no link over %s', async (link) => {
    await using elsewhere = await startOrigin(answerOk);
    await using home = await startOrigin(redirectTo(elsewhere, status));
    await using connector = startConnector(home.url, link);
    const { reason } = await connector.logged(({ msg }) => msg === 'not connected; trying again');
    expect(reason).toContain(`redirects to ${elsewhere.url}/connectors/${NODE}`);
    expect(new Set(home.seen.map(({ authorization }) => authorization))).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(elsewhere.seen).toEqual([]);
  });

  test.each([
    ['pattern A', 'get_dataset'],
    ['pattern B', 'get_dataset_stream'],
  ])("is followed by no connector's data of %s", async (_, command) => {
    await using elsewhere = await startOrigin(answerOk);
    await using router = await FakeRouter.start();
    await using _connector = startConnector(router.url.href, 'sse');
    const link = await router.nextLink();
    link.send({ command, request_id: 'r1', dataset_name: 'a.csv' });
    let seen = 0;
    for (let isAfter = false; !isAfter; ) {
      const post = await router.nextPost();
      expect(post.header('authorization')).toBe(`Bearer ${TOKEN}`);
      const body = (await post.body()).toString();
      isAfter = body.includes('"r2"');
      if (isAfter) post.reply(200);
      else post.reply(status, '', { Location: `${elsewhere.url}/${post.path}` });
      // What comes next is answered after the redirect was seen.
      seen += 1;
      if (seen === 1) link.send({ command: 'no_such_command', request_id: 'r2' });
    }
    expect(elsewhere.seen).toEqual([]);
  });
});

describe('a router that asks for tokens', () => {
  const site = new AsyncDisposableStack();
  const tokens = { connector: '', app: '' };

  beforeAll(async () => {
    for (const [role, args] of [
      ['connector', ['--mac', NODE]],
      ['app', ['--mac', '*', '--dataset', '**']],
    ] as const) {
      const { stdout } = await runRelay(['token', 'create', '--role', role, ...args], {
        env: { RELAY_SECRET: SECRET },
      });
      tokens[role] = stdout.toString().trimEnd().split('\n').at(-1) ?? '';
    }
  }, 30_000);

  afterAll(() => site.disposeAsync());

  const fetchBy = (router: string) =>
    runRelay(['app', 'request-offload', '--router', router, NODE, 'a.csv'], { env: { RELAY_TOKEN: tokens.app } });

  test('an S3 store sees no token, of connector or app', async () => {
    await using minio = await startMinio();
    await using store = await startOrigin((request, response) => {
      // As it came, since the signature covers the name of the host.
      const { method, url: path, headers } = request;
      const onward = http.request(`${minio.endpoint}${path}`, { method, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    });
    await using router = await startRouterProcess(['--store', `s3://${await minio.createBucket()}`], {
      RELAY_SECRET: SECRET,
      AWS_ACCESS_KEY_ID: minio.accessKey,
      AWS_SECRET_ACCESS_KEY: minio.secretKey,
      AWS_ENDPOINT_URL_S3: store.url,
    });
    const tokenFile = join(dataDir, '.token');
    await writeFile(tokenFile, tokens.connector, { mode: 0o600 });
    await using _connector = await startConnectorProcess(router.url, NODE, dataDir, ['--token-file', tokenFile]);
    const { code, stdout, stderr } = await fetchBy(router.url);
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 0, stdout: 'a,b\n', stderr: '' });
    // The router itself signs in a header, and these two by the URL.
    const signed = store.seen.filter(({ path }) => path.includes('X-Amz-Signature='));
    expect(signed.map(({ method, authorization }) => [method, authorization])).toEqual([
      ['PUT', undefined],
      ['GET', undefined],
    ]);
    expect(store.seen.filter(({ authorization }) => /bearer/i.test(authorization ?? ''))).toEqual([]);
  }, 60_000);

  test("a node's own store sees no token of the app", async () => {
    await using store = await startOrigin(answerOk);
    await using router = await startRouterProcess(['--offload-origin', store.url], { RELAY_SECRET: SECRET });
    await using node = await PlainConnector.connect(router.url, { mac: NODE, token: tokens.connector });
    const fetching = fetchBy(router.url);
    const { request_id } = await node.next();
    await node.post('/datasets/result', { request_id, download_url: `${store.url}/a?signature=1`, size: 3 });
    expect(await fetching).toMatchObject({ code: 0, stdout: Buffer.from('abc') });
    expect(store.seen).toEqual([{ method: 'GET', path: '/a?signature=1', authorization: undefined }]);
  }, 30_000);
});
