import { Writable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { AuthFailures } from '../../../../src/router/access/failures.ts';
import type { TokenFault, Verdict } from '../../../../src/router/access/token.ts';

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

/** Presents a bad credential. */
const fail = (failures: AuthFailures, address: string, fault: TokenFault = 'signature'): Promise<Verdict> =>
  failures.vet(address, async () => ({ ok: false, fault }));

const GOOD: Verdict = { ok: true, claims: { role: 'monitor', macs: ['*'] }, keyId: 'k', fingerprint: 'f' };
const THROTTLED = expect.objectContaining({ code: 'too_many_requests', details: { retry_after: 1 } });

/** Whether a promise is settled by the time that all that is due has run. */
async function isPrompt(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  const settle = (): void => {
    done = true;
  };
  promise.then(settle, settle);
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('bad credentials', () => {
  test('are counted, and the first ones answered at once', async () => {
    const { failures, counted } = make();
    for (let index = 0; index < 10; index++) {
      expect(await fail(failures, '10.0.0.1')).toEqual({ ok: false, fault: 'signature' });
    }
    expect(counted).toEqual(Array.from({ length: 10 }, () => 'signature'));
    failures.close();
  });

  test('are logged with their address, and those after the first seldom', async () => {
    const { failures, lines } = make();
    for (let index = 0; index < 10; index++) await fail(failures, '2001:db8::1', 'expired');
    await fail(failures, '10.0.0.1', 'expired');
    expect(lines).toMatchObject([
      { level: 40, remote: '2001:db8::1', reason: 'expired' },
      { level: 40, remote: '10.0.0.1', reason: 'expired' },
    ]);
    failures.close();
  });

  test('are answered later once there were many, from that address only', async () => {
    const { failures, counted } = make();
    for (let index = 0; index < 10; index++) await fail(failures, '2001:db8::1', 'expired');
    const late = [fail(failures, '2001:db8::2', 'expired'), fail(failures, '2001:db8:0:0:ffff::1', 'expired')];
    for (const answer of late) expect(await isPrompt(answer)).toBe(false);
    expect(await isPrompt(fail(failures, '2001:db8:0:1::1', 'expired'))).toBe(true);
    expect(await isPrompt(fail(failures, '10.0.0.1', 'expired'))).toBe(true);
    expect(counted).toHaveLength(14);
    failures.close();
    await Promise.all(late);
  });

  test('are one address whether or not IPv4 is written as IPv6', async () => {
    const { failures } = make();
    for (let index = 0; index < 10; index++) await fail(failures, '::ffff:10.0.0.1', 'malformed');
    const late = fail(failures, '10.0.0.1', 'malformed');
    expect(await isPrompt(late)).toBe(false);
    failures.close();
    await late;
  });

  test('are not even looked at while their address waits for as many as it may, however many come at once', async () => {
    const { failures, counted } = make();
    for (let index = 0; index < 10; index++) await fail(failures, '10.0.0.1');
    let checks = 0;
    const answers = Array.from({ length: 200 }, () =>
      failures.vet('10.0.0.1', async () => {
        checks++;
        return { ok: false, fault: 'signature' };
      }),
    );
    const refused = answers.slice(20).map((answer) => expect(answer).rejects.toEqual(THROTTLED));
    // At once, since the first is held back for a tenth of a second only.
    const held = await Promise.all(answers.slice(0, 20).map((answer) => isPrompt(answer)));
    expect(new Set(held)).toEqual(new Set([false]));
    await Promise.all(refused);
    expect(checks).toBe(20);
    expect(counted.filter((reason) => reason === 'throttled')).toHaveLength(180);
    // Nobody else is freed from waiting by that, nor has to wait for it.
    for (let index = 0; index < 10; index++) expect(await isPrompt(fail(failures, '10.0.0.2'))).toBe(true);
    const late = fail(failures, '10.0.0.2');
    expect(await isPrompt(late)).toBe(false);
    failures.close();
    await Promise.all([...answers.slice(0, 20), late]);
  });

  test('of an address that was good until then are not held back beyond that either', async () => {
    const { failures } = make();
    const answers = Array.from({ length: 100 }, () => fail(failures, '10.0.0.1'));
    const outcomes = await Promise.all(answers.map((answer) => isPrompt(answer)));
    expect(outcomes.filter((prompt) => !prompt)).toHaveLength(20);
    failures.close();
    const ends = await Promise.allSettled(answers);
    expect(ends.filter(({ status }) => status === 'rejected')).toHaveLength(70);
  });

  test('give back their places, and one that turns out good takes none', async () => {
    const { failures } = make();
    for (let index = 0; index < 10; index++) await fail(failures, '10.0.0.1');
    for (let index = 0; index < 50; index++) expect(await failures.vet('10.0.0.1', async () => GOOD)).toBe(GOOD);
    failures.close();
    for (let index = 0; index < 50; index++) await fail(failures, '10.0.0.1');
  });

  test('of many addresses take only so many places in all', async () => {
    const { failures } = make();
    const addresses = Array.from({ length: 110 }, (_, index) => `10.0.1.${index}`);
    for (const address of addresses) for (let index = 0; index < 10; index++) await fail(failures, address);
    const checked = Promise.withResolvers<Verdict>();
    let checks = 0;
    const check = (): Promise<Verdict> => {
      checks++;
      return checked.promise;
    };
    const ends = Promise.allSettled(
      addresses.flatMap((address) => Array.from({ length: 20 }, () => failures.vet(address, check))),
    );
    expect(checks).toBe(2000);
    // Who never failed needs none.
    expect(await isPrompt(fail(failures, '10.0.2.1'))).toBe(true);
    checked.resolve(GOOD);
    expect((await ends).filter(({ status }) => status === 'rejected')).toHaveLength(200);
    failures.close();
  });

  test('that are missing slow nobody down', () => {
    const { failures, counted, lines } = make();
    for (let index = 0; index < 100; index++) failures.noteMissing();
    expect(counted).toHaveLength(100);
    expect(lines).toHaveLength(0);
  });
});

test('what is forbidden is always counted, and logged seldom for each token or, without one, each address', () => {
  const { failures, counted, lines } = make();
  for (let index = 0; index < 1000; index++) failures.noteForbidden('10.0.0.1', { path: `/${index}` });
  failures.noteForbidden('10.0.0.1', { path: '/', token_id: 'one' });
  failures.noteForbidden('10.0.0.1', { path: '/', token_id: 'two' });
  failures.noteForbidden('10.0.0.2', { path: '/', token_id: 'two' });
  expect(counted).toHaveLength(1003);
  expect(lines).toMatchObject([
    { level: 40, remote: '10.0.0.1', reason: 'forbidden', path: '/0' },
    { token_id: 'one' },
    { token_id: 'two' },
  ]);
});
