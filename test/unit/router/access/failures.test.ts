import { Writable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { AuthFailures } from '../../../../src/router/access/failures.ts';

function make(): { failures: AuthFailures; counted: string[]; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(line: Buffer, _encoding, done) {
      lines.push(JSON.parse(line.toString()) as Record<string, unknown>);
      done();
    },
  });
  const counted: string[] = [];
  return { failures: new AuthFailures(pino({}, sink), (reason) => counted.push(reason)), counted, lines };
}

/** Whether a promise is settled by the time that all that is due has run. */
async function isPrompt(promise: Promise<void>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('bad credentials', () => {
  test('are counted and logged with their address, and the first ones answered at once', async () => {
    const { failures, counted, lines } = make();
    for (let index = 0; index < 10; index++) expect(await isPrompt(failures.note('10.0.0.1', 'signature'))).toBe(true);
    expect(counted).toEqual(Array.from({ length: 10 }, () => 'signature'));
    expect(lines[0]).toMatchObject({ level: 40, remote: '10.0.0.1', reason: 'signature' });
    failures.close();
  });

  test('are answered later once there were many, from that address only, and their log lines grow rare', async () => {
    const { failures, counted, lines } = make();
    for (let index = 0; index < 10; index++) await failures.note('2001:db8::1', 'expired');
    const late = [failures.note('2001:db8::2', 'expired'), failures.note('2001:db8:0:0:ffff::1', 'expired')];
    for (const answer of late) expect(await isPrompt(answer)).toBe(false);
    expect(await isPrompt(failures.note('2001:db8:0:1::1', 'expired'))).toBe(true);
    expect(await isPrompt(failures.note('10.0.0.1', 'expired'))).toBe(true);
    expect(counted).toHaveLength(14);
    expect(lines).toHaveLength(12);
    failures.close();
    await Promise.all(late);
  });

  test('are one address whether or not IPv4 is written as IPv6', async () => {
    const { failures } = make();
    for (let index = 0; index < 10; index++) await failures.note('::ffff:10.0.0.1', 'malformed');
    const late = failures.note('10.0.0.1', 'malformed');
    expect(await isPrompt(late)).toBe(false);
    failures.close();
    await late;
  });

  test('do not hold back more answers than there is room for', async () => {
    const { failures } = make();
    const answers = Array.from({ length: 1000 }, () => failures.note('10.0.0.1', 'signature'));
    expect(await isPrompt(answers[999] as Promise<void>)).toBe(true);
    failures.close();
    await Promise.all(answers);
  });

  test('that are missing slow nobody down', () => {
    const { failures, counted, lines } = make();
    for (let index = 0; index < 100; index++) failures.noteMissing();
    expect(counted).toHaveLength(100);
    expect(lines).toHaveLength(0);
  });
});
