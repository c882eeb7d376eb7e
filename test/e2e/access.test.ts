import { chmod, rename, truncate, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import tls from 'node:tls';
import { once } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { makeCertificate } from '../support/certificates.ts';
import { RoleProcess, runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const LINKS = ['websocket', 'sse'] as const;
const SECRET = 'one secret of more than thirty-two characters';
const NEXT = 'next secret of more than thirty-two characters';

interface Site extends AsyncDisposable {
  readonly path: string;
  readonly secretFile: string;
  /** Makes a token as an administrator does. */
  token(args: readonly string[], secret?: string): Promise<string>;
  /** Makes a token and puts it into a file. */
  tokenFile(name: string, args: readonly string[], secret?: string): Promise<string>;
}

const CONNECTOR = ['--role', 'connector', '--mac', NODE];
const APP = ['--role', 'app', '--mac', '*', '--dataset', '**'];

/** A directory with a secret, and one dataset in `data`. */
async function makeSite(): Promise<Site> {
  const directory = await makeTempDir();
  await writeFile(join(directory.path, 'a.csv'), 'a,b\n');
  const secretFile = join(directory.path, '.secret');
  await writeFile(secretFile, `${SECRET}\n`);
  const token: Site['token'] = async (args, secret = SECRET) => {
    const { code, stdout, stderr } = await runRelay(['token', 'create', ...args], { env: { RELAY_SECRET: secret } });
    if (code !== 0) throw new Error(stderr);
    return stdout.toString().trimEnd().split('\n').at(-1) ?? '';
  };
  return {
    path: directory.path,
    secretFile,
    token,
    tokenFile: async (name, args, secret) => {
      const file = join(directory.path, `.${name}`);
      await writeFile(`${file}.new`, `${await token(args, secret)}\n`);
      await rename(`${file}.new`, file);
      return file;
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

const stream = (url: string, env: NodeJS.ProcessEnv = {}, ...args: string[]) =>
  runRelay(['app', 'request-stream', '--router', url, '--retry', '0', ...args, NODE, 'a.csv'], { env });

describe.each(LINKS)('with tokens, over %s', (transport) => {
  test('the flow is what it is without', async () => {
    await using site = await makeSite();
    await using router = await startRouterProcess(['--secret-file', site.secretFile]);
    const file = await site.tokenFile('connector-token', CONNECTOR);
    await using connector = await startConnectorProcess(router.url, NODE, site.path, [
      '--transport',
      transport,
      '--token-file',
      file,
    ]);
    const env = { RELAY_TOKEN: await site.token(APP) };
    for (const pattern of ['request-sync', 'request-stream', 'request-offload']) {
      const { code, stdout, stderr } = await runRelay(['app', pattern, '--router', router.url, NODE, 'a.csv'], { env });
      expect({ code, stdout: stdout.toString(), stderr }).toMatchObject({ code: 0, stdout: 'a,b\n' });
    }
    const narrow = await site.token(['--role', 'app', '--mac', NODE, '--dataset', 'reports/*']);
    const refused = await stream(router.url, { RELAY_TOKEN: narrow });
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('does not cover "a.csv"')]);
    const none = await stream(router.url);
    expect([none.code, none.stderr]).toEqual([6, expect.stringMatching(/asks for a token[^]*--token-file/)]);
    // The token is in no log of either side.
    const logs = JSON.stringify([router.log, connector.log]);
    expect(logs).not.toContain(env.RELAY_TOKEN.split('.')[2]);
    expect(logs).not.toContain(SECRET);
    expect(router.log).toContainEqual(expect.objectContaining({ reason: 'forbidden', role: 'app' }));
  });

  test('a connector whose token is refused at first ends at once with 6', async () => {
    await using site = await makeSite();
    await using router = await startRouterProcess(['--secret-file', site.secretFile]);
    const base = [
      'connector',
      '--router',
      router.url,
      '--mac',
      NODE,
      '--data-dir',
      site.path,
      '--transport',
      transport,
    ];
    const foreign = await site.tokenFile('foreign', CONNECTOR, NEXT);
    const other = await site.tokenFile('other', ['--role', 'connector', '--mac', 'cc-28-aa-01-02-04']);
    for (const [args, words] of [
      [[], /asks for a token/],
      [['--token-file', foreign], /not made with a secret of this router/],
      [['--token-file', other], /does not cover the connector cc-28-aa-01-02-03/],
    ] as const) {
      const { code, stderr } = await runRelay([...base, ...args]);
      expect([code, stderr]).toEqual([6, expect.stringMatching(words)]);
    }
    await router.logged(({ msg, reason }) => msg === 'a credential was refused' && reason === 'signature');
  });

  test('a token that runs out is warned of on both sides, and replaced without a restart', async () => {
    await using site = await makeSite();
    await using router = await startRouterProcess(['--secret-file', site.secretFile]);
    const file = await site.tokenFile('connector-token', [...CONNECTOR, '--expires', '10s']);
    await using connector = await startConnectorProcess(router.url, NODE, site.path, [
      '--transport',
      transport,
      '--token-file',
      file,
      '--reconnect-max',
      '1s',
    ]);
    await Promise.all([
      connector.logged(({ msg }) => /token expires soon/.test(msg ?? '')),
      router.logged(({ msg, mac }) => mac === NODE && /token expires soon/.test(msg ?? '')),
    ]);
    await router.logged(({ msg, reason }) => msg === 'connector offline' && reason === 'the token has expired');
    const refused = await connector.logged(
      ({ level, reason }) => level === 'error' && /token has expired/.test(String(reason)),
    );
    expect(refused.msg).toMatch(/put a new one into its place|trying again/);
    const seen = connector.log.length;
    await site.tokenFile('connector-token', CONNECTOR);
    await connector.logged(({ msg }) => msg === 'connected to router', seen);
    const env = { RELAY_TOKEN: await site.token(APP) };
    expect(await stream(router.url, env)).toMatchObject({ code: 0 });
  });
});

test.each(LINKS)('a transfer that its token does not outlive is finished, over %s', async (transport) => {
  await using site = await makeSite();
  // More than what routers, connectors and sockets hold between them.
  const size = 64 * 1024 * 1024;
  await truncate(join(site.path, 'a.csv'), size);
  await using router = await startRouterProcess(['--secret-file', site.secretFile]);
  const file = await site.tokenFile('connector-token', [...CONNECTOR, '--expires', '6s']);
  await using _ = await startConnectorProcess(router.url, NODE, site.path, [
    '--transport',
    transport,
    '--token-file',
    file,
  ]);
  const request = http.request(`${router.url}/datasets/request-stream`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${await site.token(APP)}` },
  });
  request.end(JSON.stringify({ mac: NODE, dataset: 'a.csv' }));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  // An app that does not read until the token is over.
  await router.logged(({ msg, reason }) => msg === 'connector offline' && reason === 'the token has expired');
  let received = 0;
  for await (const piece of response) received += (piece as Buffer).length;
  expect(received).toBe(size);
  await router.logged(({ msg, code }) => msg === 'request done' && code === 'ok');
});

describe('a secret', () => {
  test('is rotated without a restart of anything', async () => {
    await using site = await makeSite();
    await using router = await startRouterProcess(['--secret-file', site.secretFile]);
    const file = await site.tokenFile('connector-token', CONNECTOR);
    await using connector = await startConnectorProcess(router.url, NODE, site.path, [
      '--token-file',
      file,
      '--reconnect-max',
      '1s',
    ]);
    const env = { RELAY_TOKEN: await site.token(APP, NEXT) };
    expect(await stream(router.url, env)).toMatchObject({ code: 6 });
    // The new one is added, and then signs; once all have new tokens, the old one goes.
    await writeFile(site.secretFile, `${NEXT}\n${SECRET}\n`);
    const until = async (isThere: () => Promise<boolean>): Promise<void> => {
      while (!(await isThere())) await new Promise((resolve) => setTimeout(resolve, 100));
    };
    await until(async () => (await stream(router.url, env)).code === 0);
    await site.tokenFile('connector-token', CONNECTOR, NEXT);
    await writeFile(site.secretFile, `${NEXT}\n`);
    await connector.logged(({ msg }) => /coming back with the new one/.test(msg ?? ''));
    await connector.logged(({ msg }) => msg === 'connected to router', connector.log.length - 1);
    expect(await stream(router.url, env)).toMatchObject({ code: 0 });
    // A file that is not good any more changes nothing.
    await writeFile(site.secretFile, 'short\n');
    await until(async () => {
      expect((await stream(router.url, env)).code).toBe(0);
      return router.log.some(({ level, file: path }) => level === 'error' && path === site.secretFile);
    });
  }, 180_000);

  test('is needed beyond loopback, and must be long enough', async () => {
    await using site = await makeSite();
    const beyond = await runRelay(['router', '--host', '0.0.0.0', '--port', '0']);
    expect([beyond.code, beyond.stderr]).toEqual([2, expect.stringMatching(/RELAY_SECRET or --secret-file/)]);
    const short = await runRelay(['router', '--port', '0', '--state-dir', site.path], {
      env: { RELAY_SECRET: 'short' },
    });
    expect([short.code, short.stderr]).toEqual([2, expect.stringMatching(/32 characters/)]);
    const both = await runRelay(['router', '--secret-file', site.secretFile, '--insecure-no-auth']);
    expect([both.code, both.stderr]).toEqual([2, expect.stringMatching(/give one of them/)]);
    await using router = await startRouterProcess(['--host', '0.0.0.0'], { RELAY_SECRET: SECRET });
    const { port } = new URL(router.url);
    const { status } = await fetch(`http://127.0.0.1:${port}/connectors`);
    expect(status).toBe(401);
  });

  test('that is missing is spoken of at the start', async () => {
    await using router = await startRouterProcess();
    await router.logged(
      ({ level, msg }) => level === 'warn' && /no secret: only this machine is answered/.test(msg ?? ''),
    );
  });
});

describe('relay token create', () => {
  const create = (args: readonly string[], env: NodeJS.ProcessEnv = { RELAY_SECRET: SECRET }) =>
    runRelay(['token', 'create', ...args], { env });

  test('prints the token alone, and what it is for on standard error', async () => {
    const { code, stdout, stderr } = await create(APP);
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(stderr).toMatch(/role app, connectors \*, datasets \*\*; it expires 20\d\d-/);
    const claims = JSON.parse(Buffer.from(stdout.toString().split('.')[1] ?? '', 'base64url').toString()) as Record<
      string,
      number
    >;
    // A second may end between the two.
    expect([0, -1]).toContain((claims['exp'] ?? 0) - (claims['iat'] ?? 0) - 90 * 24 * 3600);
  });

  test.each([
    [['--mac', '*'], /--role is missing/],
    [['--role', 'admin', '--mac', '*'], /none of connector, app, monitor/],
    [['--role', 'monitor'], /--mac is missing/],
    [['--role', 'monitor', '--mac', 'x'], /--mac/],
    [['--role', 'app', '--mac', '*'], /--dataset is missing/],
    [['--role', 'connector', '--mac', NODE, '--mac', 'cc-28-aa-01-02-04'], /exactly one --mac/],
    [['--role', 'connector', '--mac', NODE, '--dataset', '**'], /--dataset/],
    [[...APP, '--expires', 'soon'], /--expires.*not a time/],
    [[...APP, '--expire', '1d'], /--expires meant/],
    [[...APP, 'more'], /"more" is not expected/],
  ])('refuses %j', async (args, words) => {
    const { code, stdout, stderr } = await create(args);
    expect([code, stdout.toString(), stderr]).toEqual([2, '', expect.stringMatching(words)]);
  });

  test('says that it needs a secret', async () => {
    const { code, stderr } = await create(APP, {});
    expect([code, stderr]).toEqual([2, expect.stringMatching(/--secret-file, or set RELAY_SECRET/)]);
  });
});

describe('a token', () => {
  test('never leaves the machine over plain HTTP unless that is allowed', async () => {
    await using site = await makeSite();
    const env = { RELAY_TOKEN: await site.token(APP) };
    const app = await stream('http://192.0.2.1:9', env);
    expect([app.code, app.stderr]).toEqual([2, expect.stringMatching(/unencrypted/)]);
    const args = ['connector', '--router', 'http://192.0.2.1:9', '--mac', NODE, '--data-dir', site.path];
    const connector = await runRelay(args, { env });
    expect([connector.code, connector.stderr]).toEqual([2, expect.stringMatching(/unencrypted/)]);
  });

  test('does not go to a proxy over plain HTTP either, though the router be on loopback', async () => {
    await using site = await makeSite();
    const router = ['--router', 'http://127.0.0.1:8080', '--proxy', 'http://192.0.2.2:3999'];
    const app = ['app', 'connectors', ...router, '--retry', '0'];
    const connector = ['connector', ...router, '--mac', NODE, '--data-dir', site.path];
    for (const args of [app, connector]) {
      const { code, stderr } = await runRelay(args, { env: { RELAY_TOKEN: await site.token(APP) } });
      expect([code, stderr]).toEqual([2, expect.stringMatching(/unencrypted to the proxy http:\/\/192\.0\.2\.2:3999/)]);
    }
  });

  test('is read from a file, which must hold one', async () => {
    await using site = await makeSite();
    const file = join(site.path, '.token');
    await writeFile(file, 'two words\n');
    const bad = await stream('http://127.0.0.1:9', {}, '--token-file', file);
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringMatching(/holds no token/)]);
    const gone = await stream('http://127.0.0.1:9', {}, '--token-file', join(site.path, 'nothing'));
    expect([gone.code, gone.stderr]).toEqual([2, expect.stringMatching(/--token-file: cannot read .*ENOENT/)]);
  });
});

describe('a certificate', () => {
  test('is served anew when its files change, without a restart', async () => {
    await using site = await makeSite();
    const files = { key: join(site.path, '.key.pem'), cert: join(site.path, '.cert.pem') };
    await makeCertificate(files);
    await using router = await startRouterProcess(['--tls-cert', files.cert, '--tls-key', files.key]);
    const serial = async (): Promise<string> => {
      const socket = tls.connect({
        host: '127.0.0.1',
        port: Number(new URL(router.url).port),
        rejectUnauthorized: false,
      });
      await once(socket, 'secureConnect');
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const first = await serial();
    const next = { key: `${files.key}.new`, cert: `${files.cert}.new` };
    await makeCertificate(next);
    // For a moment the two do not belong together.
    await rename(next.cert, files.cert);
    while (!router.log.some(({ msg }) => /cannot be used yet/.test(msg ?? ''))) expect(await serial()).toBe(first);
    await rename(next.key, files.key);
    while (!router.log.some(({ msg }) => msg === 'serving a new certificate')) await serial();
    expect(await serial()).not.toBe(first);
    await chmod(files.key, 0o600);
  });
});

test('a process whose secret is in its environment shows it in no argument and no configuration', async () => {
  await using site = await makeSite();
  const { stdout } = await runRelay(['router', '--print-config'], { env: { RELAY_SECRET: SECRET } });
  expect(stdout.toString()).not.toContain(SECRET);
  expect(stdout.toString()).toMatch(/^secret +\*+ +RELAY_SECRET in the environment$/m);
  const flag = new RoleProcess(['router', '--secret', SECRET, '--port', '0', '--state-dir', site.path]);
  await using _ = flag;
  expect(await flag.exited).toBe(2);
});
