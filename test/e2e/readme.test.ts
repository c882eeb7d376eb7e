import { expect, test } from '@jest/globals';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificate } from '../support/certificates.ts';
import { readDocScript } from '../support/doc-commands.ts';
import { RELAY, RoleProcess, run, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const README = join(import.meta.dirname, '../../README.md');
const CSV = 'time,celsius\n08:00,61.5\n';

test('the curl session of the README does what it says', async () => {
  await using data = await makeTempDir();
  await using work = await makeTempDir();
  await writeFile(join(data.path, 'measurements.csv'), CSV);
  await using router = await startRouterProcess();
  await using _connector = await startConnectorProcess(router.url, 'cc-28-aa-01-02-03', data.path);
  const script = await readDocScript(README, 'curl session', { 'http://127.0.0.1:8080': router.url });
  const { code, stdout, stderr } = await run('sh', ['-eu', '-c', script], { cwd: work.path });
  expect([code, stderr]).toEqual([0, '']);
  const said = stdout.toString();
  expect(said).toContain('"status":"success"');
  expect(said).toContain('"state":"done"');
  expect(said).toContain('"digest":"sha-256=:');
  expect(said).toMatch(/dataset_not_found[^]*404\n$/);
  for (const file of ['sync.csv', 'stream.csv', 'offload.csv']) {
    expect([file, await readFile(join(work.path, file), 'utf8')]).toEqual([file, CSV]);
  }
});

test('the quick start over two machines does what it says, and so do the commands on secrets and tokens', async () => {
  await using work = await makeTempDir();
  await using data = await makeTempDir();
  await writeFile(join(data.path, 'measurements.csv'), CSV);
  await makeCertificate({ key: join(work.path, 'privkey.pem'), cert: join(work.path, 'fullchain.pem') });
  // `exec`, so that what is ended is relay itself.
  const shell = (script: string): string[] => [
    '-euc',
    `relay() { ${process.execPath} ${RELAY} "$@"; }\n${script.replace(/^relay (router|connector) /m, `exec ${process.execPath} ${RELAY} $1 `)}`,
  ];
  const options = { cwd: work.path };
  const modeOf = async (name: string): Promise<string> =>
    ((await stat(join(work.path, name))).mode & 0o777).toString(8);
  await using first = new RoleProcess([], {
    ...options,
    through: [
      'sh',
      ...shell(
        await readDocScript(README, 'two machines, router', {
          '--host 0.0.0.0 --port 443': `--port 0 --log-format json --state-dir ${join(work.path, 'state')}`,
        }),
      ),
    ],
    command: [],
    env: process.env,
  });
  const { url } = await first.logged((line) => typeof line['url'] === 'string');
  for (const name of ['secret', 'plant-1.token', 'analyst.token']) expect(await modeOf(name)).toBe('600');
  const there = { 'https://relay.example.com': `${String(url).replace('127.0.0.1', 'localhost')} --ca fullchain.pem` };
  const node = await readDocScript(README, 'two machines, node', { ...there, '/srv/data': data.path });
  await using second = new RoleProcess([], {
    ...options,
    through: ['sh', ...shell(`${node.trimEnd()} --log-format json`)],
    command: [],
    env: process.env,
  });
  await second.logged(({ msg }) => msg === 'connected to router');
  const app = await run('sh', shell(await readDocScript(README, 'two machines, app', there)), options);
  expect([app.code, app.stdout.toString()]).toEqual([0, expect.stringMatching(/cc-28-aa-01-02-03 +online/)]);
  expect(await readFile(join(work.path, 'measurements.csv'), 'utf8')).toBe(CSV);
  for (const name of ['make a secret', 'make tokens']) {
    const script = await readDocScript(join(README, '../docs/access.md'), name);
    expect(await run('sh', shell(script), options)).toMatchObject({ code: 0 });
  }
  expect(await modeOf('prometheus.token')).toBe('600');
  expect(await readFile(join(work.path, 'prometheus.token'), 'utf8')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
}, 120_000);
