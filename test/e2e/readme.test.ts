import { expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir } from '../support/router.ts';

const README = join(import.meta.dirname, '../../README.md');
const CSV = 'time,celsius\n08:00,61.5\n';

test('the curl session of the README does what it says', async () => {
  const session = /<!-- test: curl session -->\n```sh\n([^]*?)```/.exec(await readFile(README, 'utf8'))?.[1] ?? '';
  await using data = await makeTempDir();
  await using work = await makeTempDir();
  await writeFile(join(data.path, 'measurements.csv'), CSV);
  await using router = await startRouterProcess();
  await using _connector = await startConnectorProcess(router.url, 'cc-28-aa-01-02-03', data.path);
  const script = session.replaceAll('http://127.0.0.1:8080', router.url);
  expect(script).toContain(router.url);
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
