import { expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ask } from '../support/plain-app.ts';
import { MAC, PlainConnector } from '../support/plain-connector.ts';
import { runRelay, startConnectorProcess, startRouterProcess } from '../support/processes.ts';
import { makeTempDir, startRouter } from '../support/router.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

test.each(['request-sync', 'request-stream', 'request-offload'])(
  'the trace of an app is in the logs of all roles: %s',
  async (pattern) => {
    await using data = await makeTempDir();
    await writeFile(join(data.path, 'a.csv'), 'a,b\n');
    await using router = await startRouterProcess(['--log-level', 'debug']);
    await using connector = await startConnectorProcess(router.url, MAC, data.path);
    const app = await runRelay(['app', pattern, '--router', router.url, MAC, 'a.csv'], { env: { TRACEPARENT } });
    expect([app.code, String(app.stdout), app.stderr]).toEqual([0, 'a,b\n', '']);
    const ofTrace = ({ trace_id: id }: Record<string, unknown>): boolean => id === TRACE;
    for (const msg of ['command sent', 'request done'])
      await router.logged((line) => line.msg === msg && ofTrace(line));
    for (const msg of ['command received', 'done']) await connector.logged((line) => line.msg === msg && ofTrace(line));

    const bad = await runRelay(['app', 'request-sync', '--router', router.url, MAC, 'a.csv'], {
      env: { TRACEPARENT: 'nonsense' },
    });
    expect([bad.code, bad.stderr]).toEqual([0, expect.stringContaining('is no traceparent')]);
    const last = await router.logged(({ msg, trace_id: id }) => msg === 'request done' && id === undefined);
    expect(last).not.toHaveProperty('trace_id');
  },
);

test('a command carries the trace of its request, also one that waits for its connector, and a connector’s POSTs do', async () => {
  await using router = await startRouter({ reconnectWaitMs: 5000 });
  const first = await PlainConnector.connect(router.url);
  await first[Symbol.asyncDispose]();
  const traced = ask(router.url, '/datasets/request-sync', { mac: MAC, dataset: 'a' }, { traceparent: TRACEPARENT });
  await using node = await PlainConnector.connect(router.url);
  const command = await node.next();
  expect(command).toMatchObject({ command: 'get_dataset', traceparent: TRACEPARENT });
  await node.post('/datasets/result', { request_id: command.request_id, data: 'x' });
  await traced.answer;
  const plain = ask(router.url, '/datasets/request-sync', { mac: MAC, dataset: 'a' }, { traceparent: 'nonsense' });
  const next = await node.next();
  expect(next).not.toHaveProperty('traceparent');
  await node.post('/datasets/result', { request_id: next.request_id, data: 'x' });
  await plain.answer;
});
