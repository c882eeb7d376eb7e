import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { main } from '../../../src/cli/run.ts';
import { FakeIo } from './fake-io.ts';

const work = mkdtempSync(join(tmpdir(), 'relay-cli-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** What a link points to; nothing where it is gone. */
function readlink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Ends once a command that runs until a signal hears them. */
async function listens(io: FakeIo): Promise<void> {
  if (io.signals.listenerCount('SIGTERM') > 0) return;
  await new Promise<void>((resolve) => {
    io.signals.on('newListener', (name) => {
      if (name === 'SIGTERM') resolve();
    });
  });
}

describe('roles in process', () => {
  test('a router starts and, on SIGTERM, ends with 0, standard output empty', async () => {
    const io = new FakeIo({ RELAY_LOG_LEVEL: 'silent' });
    const router = main(['router', '--port', '0', '--state-dir', join(work, 'state')], io);
    await listens(io);
    io.signals.emit('SIGTERM');
    expect(await router).toBe(0);
    expect([io.out, io.err]).toEqual(['', '']);
  });

  test.each([
    ['json', /^\{"level":"info".*"role":"router".*"msg":"router listening on http/m],
    ['pretty', /INFO: router: router listening on http/],
    ['auto', /^\{"level":"info"/m],
  ])('a router logs to a file, in the form %s', async (format, expected) => {
    const io = new FakeIo();
    const file = join(work, `${format}.log`);
    const words = ['--state-dir', join(work, `state-${format}`), '--log-file', file, '--log-format', format];
    const router = main(['router', '--port', '0', ...words], io);
    await listens(io);
    io.signals.emit('SIGTERM');
    expect(await router).toBe(0);
    expect(readFileSync(file, 'utf8')).toMatch(expected);
    expect(readFileSync(file, 'utf8')).toMatch(/router closed/);
    if (existsSync('/proc/self/fd')) {
      const open = readdirSync('/proc/self/fd').map((fd) => readlink(`/proc/self/fd/${fd}`));
      expect(open).not.toContain(file);
    }
  });

  test('a connector goes on trying where there is no router and, on SIGTERM, ends with 0', async () => {
    const io = new FakeIo({ RELAY_LOG_LEVEL: 'silent', RELAY_ROUTER: 'http://127.0.0.1:1' });
    const connector = main(['connector', '--mac', 'cc28aa010203', '--data-dir', work], io);
    await listens(io);
    io.signals.emit('SIGTERM');
    expect(await connector).toBe(0);
    expect([io.out, io.err]).toEqual(['', '']);
  });

  test('a connector that was told to gives up, with 8', async () => {
    const io = new FakeIo({ RELAY_LOG_LEVEL: 'silent', RELAY_ROUTER: 'http://127.0.0.1:1' });
    const words = [
      'connector',
      '--mac',
      'cc28aa010203',
      '--data-dir',
      work,
      '--give-up-after',
      '1ms',
      '--reconnect-min',
      '1ms',
    ];
    expect(await main(words, io)).toBe(8);
  });

  test('a port that is taken is told, and is no defect', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as { port: number };
      const io = new FakeIo({ RELAY_LOG_LEVEL: 'silent' });
      expect(await main(['router', '--port', String(port), '--state-dir', join(work, 'taken')], io)).toBe(2);
      expect(io.err).toMatch(/^relay: .*already/);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test('a data directory that is not there is told', async () => {
    const io = new FakeIo({ RELAY_LOG_LEVEL: 'silent' });
    const words = [
      'connector',
      '--router',
      'http://127.0.0.1:1',
      '--mac',
      'cc28aa010203',
      '--data-dir',
      join(work, 'none'),
    ];
    expect(await main(words, io)).toBe(2);
    expect(io.err).toContain(join(work, 'none'));
  });
});
