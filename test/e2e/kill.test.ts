import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ask } from '../support/plain-app.ts';
import { RoleProcess, startConnectorProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const NODE = 'cc-28-aa-01-02-03';
const DATASETS = 40;
const LANES = 8;
/** After how many answers it is killed, each time. */
const ANSWERS = [1, 6, 12];

/** `relay router` on a directory, and on a port that stays the same from one to the next. */
async function startRouter(directory: string, port: string): Promise<RoleProcess & { url: string }> {
  const role = new RoleProcess(['router', '--state-dir', join(directory, 'state'), '--port', port], { cwd: directory });
  const { url } = await role.logged((line) => typeof line['url'] === 'string');
  return Object.assign(role, { url: String(url) });
}

test('a router that is killed while it stores has lost nothing that it gave an answer for', async () => {
  await using directory = await makeTempDir();
  await using data = await makeTempDir();
  const contents = new Map<string, Buffer>();
  for (let index = 0; index < DATASETS; index++) {
    const content = randomBytes(500_000 + index * 50_000);
    contents.set(`${index}.bin`, content);
    await writeFile(join(data.path, `${index}.bin`), content);
  }
  await using routers = new AsyncDisposableStack();
  let router = routers.use(await startRouter(directory.path, '0'));
  const { url } = router;
  const { port } = new URL(url);
  await using connector = await startConnectorProcess(url, NODE, data.path, [
    '--reconnect-min',
    '20ms',
    '--reconnect-max',
    '200ms',
  ]);
  const waiting = [...contents.keys()];
  const acknowledged = new Map<string, string>();

  for (const answers of ANSWERS) {
    const { child } = router;
    let got = 0;
    let underWay = 0;
    let cut = 0;
    const lane = async (): Promise<void> => {
      while (!child.killed) {
        const dataset = waiting.pop();
        if (dataset === undefined) return;
        underWay++;
        const answer = await ask(url, '/datasets/request-offload', { mac: NODE, dataset }).answer.catch(
          () => undefined,
        );
        underWay--;
        if (answer?.error === undefined && answer?.status === 200) {
          acknowledged.set(dataset, String(answer.json()['download_url']));
          got++;
        } else {
          cut++;
          waiting.push(dataset);
        }
        if (got >= answers && underWay > 0) child.kill('SIGKILL');
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    await router.exited;
    expect(got).toBeGreaterThanOrEqual(answers);
    // Others were in the middle of it.
    expect(cut).toBeGreaterThan(0);
    const from = connector.log.length;
    router = routers.use(await startRouter(directory.path, port));
    await connector.logged(({ msg }) => msg === 'connected to router', from);
  }

  for (const [dataset, downloadUrl] of acknowledged) {
    const response = await fetch(downloadUrl);
    expect([dataset, response.status]).toEqual([dataset, 200]);
    expect(Buffer.from(await response.arrayBuffer()).equals(contents.get(dataset) as Buffer)).toBe(true);
  }
  // Those that were cut are asked for again, and come whole.
  for (const dataset of waiting) {
    const { status, json } = await ask(url, '/datasets/request-offload', { mac: NODE, dataset }).answer;
    expect([dataset, status]).toEqual([dataset, 200]);
    const response = await fetch(String(json()['download_url']));
    expect(Buffer.from(await response.arrayBuffer()).equals(contents.get(dataset) as Buffer)).toBe(true);
  }
}, 120_000);
