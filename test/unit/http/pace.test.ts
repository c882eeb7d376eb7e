import { expect, test } from '@jest/globals';
import { type Flow, Pace } from '../../../src/http/pace.ts';
import type { Timer } from '../../../src/http/timer.ts';

/** Sleeps in no time, and says how late it is. */
function makeTimer(): Timer & { time: number; sleepers: number } {
  const timer = {
    time: 0,
    sleepers: 0,
    now: () => timer.time,
    sleep: async (ms: number, signal: AbortSignal) => {
      timer.sleepers++;
      try {
        // Whoever else is about to ask gets to it.
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
        timer.time += ms;
      } finally {
        timer.sleepers--;
      }
    },
  };
  return timer;
}

const { signal } = new AbortController();

/** Sends pieces one after the other, and counts what went. */
function send(flow: Flow, pieceBytes: number, until = Infinity) {
  const ending = new AbortController();
  const sending = { bytes: 0, end: () => ending.abort(), done: Promise.resolve() };
  sending.done = (async () => {
    while (!ending.signal.aborted && sending.bytes < until) {
      await flow.take(pieceBytes, ending.signal);
      sending.bytes += pieceBytes;
    }
  })().catch(() => {});
  return sending;
}

test('lets a rate pass, whatever the pieces, and a little at once after a pause', async () => {
  const timer = makeTimer();
  const flow = new Pace(1_000_000, timer).open();
  for (let sent = 0; sent < 3_000_000; sent += 30_000) await flow.take(30_000, signal);
  expect(timer.time).toBeGreaterThan(2800);
  expect(timer.time).toBeLessThan(3000);
  timer.time += 60_000;
  const before = timer.time;
  for (let sent = 0; sent < 1_000_000; sent += 30_000) await flow.take(30_000, signal);
  expect(timer.time - before).toBeGreaterThan(850);
});

test('what is late is made up for, so that the rate is reached', async () => {
  const timer = makeTimer();
  const late = { ...timer, now: () => timer.time, sleep: (ms: number, s: AbortSignal) => timer.sleep(ms + 20, s) };
  const flow = new Pace(1_000_000, late).open();
  for (let sent = 0; sent < 3_000_000; sent += 10_000) await flow.take(10_000, signal);
  expect(timer.time).toBeGreaterThan(2800);
  expect(timer.time).toBeLessThan(3100);
});

test('shares the rate among flows byte by byte, however long their pieces are', async () => {
  const timer = makeTimer();
  const pace = new Pace(1_000_000, timer);
  const sendings = [1000, 10_000, 50_000].map((bytes) => send(pace.open(), bytes));
  const last = send(pace.open(), 20_000, 2_000_000);
  await last.done;
  for (const { bytes } of sendings) expect(Math.abs(bytes - last.bytes)).toBeLessThanOrEqual(100_000);
  expect(timer.time).toBeGreaterThan(7700);
  expect(timer.time).toBeLessThan(8200);
  for (const each of sendings) each.end();
  await Promise.all(sendings.map(({ done }) => done));
});

test('one that begins has its turn at once, and goes on as the others do', async () => {
  const timer = makeTimer();
  const pace = new Pace(1_000_000, timer);
  const older = send(pace.open(), 50_000);
  await send(pace.open(), 50_000, 5_000_000).done;
  const from = timer.time;
  await pace.open().take(1000, signal);
  expect(timer.time - from).toBeLessThanOrEqual(100);
  const before = older.bytes;
  await send(pace.open(), 50_000, 1_000_000).done;
  expect(Math.abs(older.bytes - before - 1_000_000)).toBeLessThanOrEqual(100_000);
  older.end();
  await older.done;
});

test('many that are short do not keep a long one waiting', async () => {
  const timer = makeTimer();
  const pace = new Pace(100_000, timer);
  const long = send(pace.open(), 5000);
  const over = new AbortController();
  const short = Array.from({ length: 10 }, async () => {
    while (!over.signal.aborted) await pace.open().take(2000, signal);
  });
  while (timer.time < 20_000) await new Promise((resolve) => setImmediate(resolve));
  over.abort();
  // An eleventh of it would be 180,000 bytes.
  expect(long.bytes).toBeGreaterThan(140_000);
  await Promise.all(short);
  long.end();
  await long.done;
});

test('pieces are short at any rate', () => {
  const timer = makeTimer();
  expect(new Pace(1_000_000, timer).pieceBytes).toBe(50_000);
  expect(new Pace(1024, timer).open().pieceBytes).toBe(1024);
});

test('does not wait for what is cancelled, nor lets it count', async () => {
  const timer = makeTimer();
  const pace = new Pace(1000, timer);
  await pace.open().take(1000, signal);
  await expect(pace.open().take(1, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  const leaving = new AbortController();
  const left = pace.open().take(100_000, leaving.signal);
  left.catch(() => {});
  const staying = pace.open().take(100, signal);
  leaving.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  await staying;
  await pace.open().take(1, signal);
  expect(timer.time).toBeLessThan(1200);
  expect(timer.sleepers).toBe(0);
});

test('sleeps for nobody: the last that leaves ends the wait, and the next begins its own', async () => {
  const timer = makeTimer();
  const pace = new Pace(1000, timer);
  await pace.open().take(1000, signal);
  const leaving = new AbortController();
  const left = pace.open().take(1, leaving.signal);
  left.catch(() => {});
  leaving.abort(new Error('left'));
  await pace.open().take(10, signal);
  expect(timer.time).toBeGreaterThanOrEqual(900);
  expect(timer.sleepers).toBe(0);
});

test('one that leaves in the very moment of its turn leaves it to whoever comes next', async () => {
  let wake = (): void => {};
  let time = 0;
  const timer: Timer = {
    now: () => time,
    sleep: () =>
      new Promise((resolve) => {
        wake = resolve;
      }),
  };
  const pace = new Pace(1000, timer);
  await pace.open().take(1000, signal);
  const leaving = new AbortController();
  const left = pace.open().take(500, leaving.signal);
  const outcome = left.catch((error: unknown) => error);
  time = 1000;
  wake();
  leaving.abort('left');
  expect(await outcome).toBe('left');
  // Nobody waits, and nothing was spent on who left.
  await pace.open().take(1, signal);
});
