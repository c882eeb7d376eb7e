import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { type AppAnswer, ask, call } from '../support/plain-app.ts';
import { PlainConnector, type RawCommand } from '../support/plain-connector.ts';
import {
  readMemory,
  RoleProcess,
  run,
  runRelay,
  startConnectorProcess,
  startRouterProcess,
} from '../support/processes.ts';
import { makeCertificate } from '../support/certificates.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const LINKS = ['websocket', 'sse'] as const;
/**
 * The full form of the test for leaks takes minutes: `RELAY_TEST_LONG=1 npm test -- test/e2e/roles`. Its first round fills
 * what the router remembers of ended requests, which is bounded and no leak.
 */
const LEAK_ROUNDS = process.env['RELAY_TEST_LONG']
  ? [
      { requests: 12_000, reconnects: 20 },
      { requests: 10_000, reconnects: 1000 },
    ]
  : [
      { requests: 200, reconnects: 10 },
      { requests: 800, reconnects: 40 },
    ];
const isOnline = ({ msg }: { msg?: string }): boolean => msg === 'connected to router';

/** A data directory with one small dataset. */
async function makeData(bytes: Buffer | string = 'a,b\n'): Promise<AsyncDisposable & { path: string }> {
  const data = await makeTempDir();
  await writeFile(join(data.path, 'a.csv'), bytes);
  return data;
}

const get = (url: string, ...extra: string[]) =>
  runRelay(['app', 'request-stream', '--router', url, ...extra, NODE, 'a.csv']);

describe.each(LINKS)('a connector over %s', (transport) => {
  test('may start before its router, and comes back after the router was killed', async () => {
    await using data = await makeData();
    const first = await startRouterProcess();
    await using _first = first;
    const { port } = new URL(first.url);
    await first.end('SIGKILL');
    const args = [
      'connector',
      '--router',
      first.url,
      '--mac',
      NODE,
      '--data-dir',
      data.path,
      '--transport',
      transport,
      '--reconnect-max',
      '1s',
    ];
    await using connector = new RoleProcess(args);
    await connector.logged(({ level }) => level === 'warn');
    for (let round = 0; round < 2; round++) {
      const from = connector.log.length;
      await using router = await startRouterProcess(['--port', port]);
      await connector.logged(isOnline, from);
      expect((await get(router.url)).stdout.toString()).toBe('a,b\n');
      await router.end('SIGKILL');
    }
  });

  test('finishes what it sends on SIGTERM, takes nothing new and exits 0', async () => {
    await using data = await makeData(Buffer.alloc(20_000_000, 'x'));
    await using router = await startRouterProcess(['--reconnect-wait', '0s']);
    await using connector = await startConnectorProcess(router.url, NODE, data.path, ['--transport', transport]);
    const running = ask(router.url, '/datasets/request-stream', { mac: NODE, dataset: 'a.csv' });
    const response = await running.response;
    response.pause();
    const ended = connector.end('SIGTERM');
    await router.logged(({ msg }) => msg === 'connector is draining');
    expect((await get(router.url, '--retry', '0')).code).toBe(4);
    response.resume();
    expect(await ended).toBe(0);
    expect((await running.answer).bytes.length).toBe(20_000_000);
  });

  test('ends at once on a second signal', async () => {
    await using data = await makeData(Buffer.alloc(20_000_000, 'x'));
    await using router = await startRouterProcess();
    await using connector = await startConnectorProcess(router.url, NODE, data.path, ['--transport', transport]);
    const running = ask(router.url, '/datasets/request-stream', { mac: NODE, dataset: 'a.csv' });
    (await running.response).pause();
    connector.child.kill('SIGTERM');
    await connector.logged(({ msg }) => msg === 'draining');
    connector.child.kill('SIGINT');
    expect(await connector.exited).toBe(130);
    running.request.destroy();
  });

  test('steps back when another machine takes its MAC, and both logs say so', async () => {
    await using data = await makeData();
    await using router = await startRouterProcess();
    await using first = await startConnectorProcess(router.url, NODE, data.path, ['--transport', transport]);
    await using second = await startConnectorProcess(router.url, NODE, data.path, ['--transport', transport]);
    await first.logged(({ level, msg }) => level === 'warn' && /same MAC|this MAC/.test(msg ?? ''));
    await router.logged(({ level, msg }) => level === 'warn' && /same MAC/.test(msg ?? ''));
    expect((await get(router.url)).code).toBe(0);
    expect(second.log.filter(isOnline)).toHaveLength(1);
  });

  test('keeps memory and descriptors over many requests and reconnects', async () => {
    await using data = await makeData();
    await using router = await startRouterProcess(['--reconnect-wait', '5s']);
    const args = ['--transport', transport, '--reconnect-min', '1ms', '--reconnect-max', '2ms'];
    await using connector = await startConnectorProcess(router.url, NODE, data.path, args);
    const request = async (): Promise<void> => {
      const { answer } = ask(router.url, '/datasets/request-stream', { mac: NODE, dataset: 'a.csv' });
      expect((await answer).bytes.toString()).toBe('a,b\n');
    };
    const round = async ({ requests, reconnects } = { requests: 0, reconnects: 0 }): Promise<void> => {
      for (let batch = 0; batch < requests / 10; batch++) await Promise.all(Array.from({ length: 10 }, request));
      for (let count = 0; count < reconnects; count++) {
        // A link that takes over and goes away again makes the connector come back.
        const from = connector.log.length;
        await using _intruder = await PlainConnector.connect(router.url, { mac: NODE });
        await connector.logged(isOnline, from);
      }
    };
    await round(LEAK_ROUNDS[0]);
    const before = await Promise.all([router, connector].map(measure));
    await round(LEAK_ROUNDS[1]);
    const after = await Promise.all([router, connector].map(measure));
    for (const [role, { descriptors, resident }] of after.entries()) {
      expect(descriptors - (before[role]?.descriptors ?? 0)).toBeLessThan(10);
      expect((resident - (before[role]?.resident ?? 0)) / 2 ** 20).toBeLessThan(48);
    }
  }, 600_000);
});

/** A port that nobody listens on, for a role whose log cannot be asked for it. */
async function freePort(): Promise<string> {
  await using router = await startRouterProcess();
  return new URL(router.url).port;
}

async function measure(role: RoleProcess): Promise<{ descriptors: number; resident: number }> {
  return {
    descriptors: (await readdir(`/proc/${role.pid}/fd`)).length,
    resident: (await readMemory(role.pid)).resident,
  };
}

describe('the router', () => {
  test('answers over TLS to who trusts its certificate, over both links and in all patterns', async () => {
    await using data = await makeData();
    const files = { key: join(data.path, '.key.pem'), cert: join(data.path, '.cert.pem') };
    await makeCertificate(files);
    await using router = await startRouterProcess(['--tls-cert', files.cert, '--tls-key', files.key]);
    expect(router.url).toMatch(/^https:/);
    for (const transport of LINKS) {
      await using _connector = await startConnectorProcess(router.url, NODE, data.path, [
        '--transport',
        transport,
        '--ca',
        files.cert,
      ]);
      for (const command of ['request-sync', 'request-stream', 'request-offload']) {
        const { code, stdout, stderr } = await runRelay([
          'app',
          command,
          '--router',
          router.url,
          '--ca',
          files.cert,
          NODE,
          'a.csv',
        ]);
        expect([command, code, stdout.toString(), stderr]).toEqual([command, 0, 'a,b\n', '']);
      }
    }
    expect((await get(router.url)).code).toBe(8);
  });

  test('resets the connection of an app over TLS too, so that no short body looks whole', async () => {
    await using data = await makeData();
    const files = { key: join(data.path, '.key.pem'), cert: join(data.path, '.cert.pem') };
    await makeCertificate(files);
    await using router = await startRouterProcess([
      '--tls-cert',
      files.cert,
      '--tls-key',
      files.key,
      '--silence-timeout',
      '300ms',
    ]);
    await using plain = await startRouterProcess(['--silence-timeout', '300ms']);
    for (const { url } of [router, plain]) {
      const script = `
        mac=${NODE}
        curl -skN -m 20 "$0/connectors/$mac/events" > >(while read -r line; do case $line in data:*)
          id=$(printf %s "$line" | sed 's/.*"request_id":"\\([^"]*\\)".*/\\1/')
          printf 1234 | curl -sk -m 5 -H "Relay-Request-Id: $id" --data-binary @- "$0/datasets/stream/chunk" >/dev/null
        esac; done) & node=$!
        until curl -sk "$0/connectors/$mac" | grep -q online; do :; done
        curl -sk -d "{\\"mac\\":\\"$mac\\",\\"dataset\\":\\"a\\"}" "$0/datasets/request-stream"; status=$?
        kill $node; exit $status`;
      const { code, stdout } = await run('bash', ['-c', script, url]);
      expect(stdout.toString()).toBe('1234');
      expect(code).not.toBe(0);
    }
  });

  test('drains on SIGTERM: running transfers finish, and it exits 0', async () => {
    await using data = await makeData(Buffer.alloc(20_000_000, 'x'));
    await using router = await startRouterProcess();
    await using _connector = await startConnectorProcess(router.url, NODE, data.path);
    const running = ask(router.url, '/datasets/request-stream', { mac: NODE, dataset: 'a.csv' });
    const response = await running.response;
    response.pause();
    const ended = router.end('SIGTERM');
    await router.logged(({ msg }) => msg === 'draining');
    response.resume();
    expect((await running.answer).bytes.length).toBe(20_000_000);
    expect(await ended).toBe(0);
  });

  test.each([
    ['waits for it', {}],
    ['polls', { Prefer: 'respond-async' }],
  ])('lets an upload to its store finish on SIGTERM, for an app that %s', async (_, headers) => {
    await using router = await startRouterProcess();
    await using node = await PlainConnector.connect(router.url, { mac: NODE });
    const asked = ask(router.url, '/datasets/request-offload', { mac: NODE, dataset: 'a.csv' }, headers);
    const { request_id, upload } = (await node.next()) as RawCommand & {
      upload: { url: string; headers: Record<string, string>; download_url: string };
    };
    const put = http.request(upload.url, {
      method: 'PUT',
      headers: { ...upload.headers, 'Content-Length': 2_000_000 },
    });
    const stored = once(put, 'response');
    await new Promise((resolve) => put.write(Buffer.alloc(1_000_000, 'x'), resolve));
    const poll =
      'Prefer' in headers
        ? call(router.url, 'GET', `/requests/${(await asked.answer).json()['request_id']}?wait=20`)
        : undefined;
    const ended = router.end('SIGTERM');
    await router.logged(({ msg }) => msg === 'draining');
    put.end(Buffer.alloc(1_000_000, 'x'));
    expect(((await stored)[0] as IncomingMessage).statusCode).toBe(200);
    const reply = await node.post('/datasets/result', {
      request_id,
      download_url: upload.download_url,
      size: 2_000_000,
    });
    expect(reply.status).toBe(200);
    const { status, json } = await (poll ?? asked.answer);
    expect([status, json()['download_url']]).toEqual([200, expect.stringContaining(router.url)]);
    expect(await ended).toBe(0);
  });

  test('serves on for --drain-delay after SIGTERM, while it says that it is not ready, and then refuses', async () => {
    await using data = await makeData();
    await using router = await startRouterProcess(['--drain-delay', '3s', '--grace', '20s']);
    await using _connector = await startConnectorProcess(router.url, NODE, data.path);
    await using slow = await PlainConnector.connect(router.url, { mac: 'cc-28-aa-01-02-05' });
    const running = ask(router.url, '/datasets/request-stream', { mac: 'cc-28-aa-01-02-05', dataset: 'b' });
    const { request_id } = await slow.next();
    const ended = router.end('SIGTERM');
    await router.logged(({ msg }) => msg?.startsWith('not ready any more') === true);
    expect((await call(router.url, 'GET', '/readyz')).status).toBe(503);
    expect((await call(router.url, 'GET', '/healthz')).status).toBe(200);
    const sync = (): Promise<AppAnswer> =>
      ask(router.url, '/datasets/request-sync', { mac: NODE, dataset: 'a.csv' }).answer;
    expect((await sync()).json()).toMatchObject({ status: 'success' });
    await router.logged(({ msg }) => msg === 'draining');
    const refused = await sync();
    expect([refused.status, refused.json()['code']]).toEqual([503, 'draining']);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    await slow.post('/datasets/result', { request_id, data: 'b' });
    expect((await running.answer).bytes.toString()).toBe('b');
    expect(await ended).toBe(0);
  });

  test('rotates the log that it writes to a file, by the size and the number that are given', async () => {
    await using directory = await makeTempDir();
    const path = join(directory.path, 'logs', 'relay.log');
    const rotation = ['--log-file', path, '--log-max-size', '2KiB', '--log-max-files', '3', '--log-level', 'debug'];
    const port = await freePort();
    await using router = new RoleProcess(['router', '--port', port, '--state-dir', directory.path, ...rotation]);
    const files = (): Promise<string[]> => readdir(join(directory.path, 'logs')).catch(() => []);
    while ((await call(`http://127.0.0.1:${port}`, 'GET', '/healthz').catch(() => undefined)) === undefined);
    for (let asked = 0; asked < 50; asked++) {
      await ask(`http://127.0.0.1:${port}`, '/datasets/request-sync', { mac: NODE, dataset: 'a.csv' }).answer;
    }
    expect(await router.end('SIGTERM')).toBe(0);
    expect((await files()).toSorted()).toEqual(['relay.log', 'relay.log.1', 'relay.log.2']);
    for (const name of await files()) {
      const text = await readFile(join(directory.path, 'logs', name), 'utf8');
      expect(text.length).toBeLessThanOrEqual(2048);
      for (const line of text.trimEnd().split('\n')) expect(JSON.parse(line)).toHaveProperty('msg');
    }
    // All of it went there.
    expect(router.log).toEqual([]);
  });

  test('shows request ids in the logs of both roles', async () => {
    await using data = await makeData();
    await using router = await startRouterProcess();
    await using connector = await startConnectorProcess(router.url, NODE, data.path);
    const { answer } = ask(router.url, '/datasets/request-sync', { mac: NODE, dataset: 'a.csv' });
    const id = (await answer).headers['relay-request-id'];
    await router.logged((line) => line['request_id'] === id);
    await connector.logged((line) => line['request_id'] === id);
  });

  test('refuses to share a state directory with another router, and a port with another program', async () => {
    await using router = await startRouterProcess();
    await using twin = new RoleProcess(['router', '--port', '0', '--state-dir', router.stateDir]);
    expect(await twin.exited).toBe(2);
    const { port } = new URL(router.url);
    await using data = await makeTempDir();
    await using other = new RoleProcess(['router', '--port', port, '--state-dir', data.path]);
    expect(await other.exited).toBe(2);
    expect(JSON.stringify(other.log)).toContain(port);
  });
});
