import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FaultyLine } from '../support/faulty-line.ts';
import { startMinio } from '../support/minio.ts';
import { RoleProcess, runRelay, startConnectorProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const CLOSED_NODE = 'cc-28-aa-01-02-04';
const MIB = 1024 * 1024;
const bytes = randomBytes(96 * MIB + 1);
const sha256Of = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');
const sha256 = sha256Of(bytes);

const resources = new AsyncDisposableStack();
let place = '';
let router = '';
/** From apps to the store. */
let line: FaultyLine;
let connector: RoleProcess;

beforeAll(async () => {
  place = resources.use(await makeTempDir()).path;
  const data = resources.use(await makeTempDir()).path;
  await writeFile(join(data, 'large.bin'), bytes);
  await writeFile(join(data, 'small.txt'), 'small');
  const minio = resources.use(await startMinio());
  line = resources.use(await FaultyLine.to(Number(new URL(minio.endpoint).port)));
  const role = resources.use(
    new RoleProcess(
      ['router', '--port', '0', '--store', 's3://ways', '--s3-app-endpoint', line.url, '--state-dir', join(place, 's')],
      {
        cwd: place,
        env: {
          AWS_ACCESS_KEY_ID: minio.accessKey,
          AWS_SECRET_ACCESS_KEY: minio.secretKey,
          AWS_ENDPOINT_URL_S3: minio.endpoint,
        },
      },
    ),
  );
  router = String((await role.logged(({ url }) => typeof url === 'string'))['url']);
  const connect = (mac: string, ...more: string[]): Promise<RoleProcess> =>
    startConnectorProcess(router, mac, data, more);
  connector = resources.use(await connect(NODE));
  resources.use(await connect(CLOSED_NODE, '--no-offload'));
}, 60_000);

afterAll(() => resources.disposeAsync());

async function request(mac: string, dataset: string, ...more: string[]) {
  const words = ['app', 'request', mac, dataset, '--router', router, '-v', '--retry', '0', ...more];
  const { code, stdout, stderr } = await runRelay(words, { cwd: place });
  const ways = Array.from(stderr.matchAll(/^relay: (request-\w+): (.*)$/gm), ([, way, reason]) => ({ way, reason }));
  return { code, sha256: sha256Of(stdout), ways, stderr };
}

/** The commands that the node got since. */
const commandsOf = (node: RoleProcess, from: number): unknown[] =>
  node.log.slice(from).flatMap(({ msg, command }) => (msg === 'command received' ? [command] : []));

const STREAM = { way: 'request-stream', reason: expect.stringContaining('one round trip') };

describe('relay app request', () => {
  test('takes a stream where nothing is known, and one round trip for what is small', async () => {
    expect(await request(NODE, 'large.bin')).toMatchObject({ code: 0, sha256, ways: [STREAM] });
    const from = connector.log.length;
    expect(await request(NODE, 'small.txt')).toMatchObject({ code: 0, sha256: sha256Of(Buffer.from('small')) });
    expect(commandsOf(connector, from)).toEqual(['get_dataset_stream']);
  });

  describe('of what the store has already', () => {
    const STORED = { way: 'request-offload', reason: 'the store has it already' };

    beforeAll(async () => {
      const words = ['app', 'request-offload', NODE, 'large.bin', '--url', '--router', router];
      await runRelay(words, { cwd: place });
    }, 60_000);

    test('takes it from there, and says so', async () => {
      expect(await request(NODE, 'large.bin')).toMatchObject({ code: 0, sha256, ways: [STREAM, STORED] });
      const file = join(place, 'whole.bin');
      const { code, ways } = await request(NODE, 'large.bin', '-o', file);
      expect({ code, ways }).toEqual({ code: 0, ways: [STREAM, STORED] });
      expect(sha256Of(await readFile(file))).toBe(sha256);
    }, 60_000);

    test.each([
      ['standard output', []],
      ['a file', ['-o', 'broken.bin']],
    ])(
      'goes on by a stream, to %s, where the store breaks down in the middle',
      async (_, output) => {
        const came = 40 * MIB;
        line.arm({ kind: 'rst', traffic: 'data', direction: 'down', afterBytes: came, outageMs: 600_000 });
        const before = line.passed('data', 'down');
        const result = await request(NODE, 'large.bin', ...output);
        line.heal();
        const BROKEN = { way: 'request-stream', reason: expect.stringMatching(/the store does not work/) };
        expect(result).toMatchObject({ code: 0, ways: [STREAM, STORED, BROKEN] });
        const content = output.length === 0 ? result.sha256 : sha256Of(await readFile(join(place, 'broken.bin')));
        expect(content).toBe(sha256);
        expect(line.passed('data', 'down') - before).toBeGreaterThanOrEqual(came);
        // The node sends the rest, and nothing of what had come.
        const sent = connector.log.findLast(({ msg, bytes: size }) => msg === 'done' && typeof size === 'number');
        expect(sent?.['bytes']).toBeLessThan(bytes.length - came / 2);
      },
      60_000,
    );
  });

  test('leaves a node alone that gives nothing to a store, which whoever asks for it is told', async () => {
    expect(await request(CLOSED_NODE, 'large.bin')).toMatchObject({ code: 0, sha256, ways: [STREAM] });
    const words = ['app', 'request-offload', CLOSED_NODE, 'large.bin', '--router', router];
    const { code, stderr } = await runRelay(words, { cwd: place });
    expect({ code, stderr }).toEqual({ code: 10, stderr: expect.stringContaining('--no-offload') });
  });
});
