import { describe, expect, test } from '@jest/globals';
import type { Clock } from '../../../../src/connector/clock.ts';
import { Backoff } from '../../../../src/connector/link/backoff.ts';
import { type Link, type LinkEnd, LinkError, type LinkKind } from '../../../../src/connector/link/link.ts';
import { keepConnected } from '../../../../src/connector/link/reconnect.ts';
import { ERROR, recordLog, WARN } from '../support-connector.ts';

/** A clock whose time passes only in pauses. */
class FakeClock implements Clock {
  time = 0;
  readonly pauses: number[] = [];
  now(): number {
    return this.time;
  }
  random(): number {
    return 1;
  }
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.pauses.push(ms);
    this.time += ms;
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
}

class FakeLink implements Link {
  readonly kind: LinkKind;
  readonly closed: Promise<LinkEnd>;
  end!: (end: LinkEnd) => void;
  constructor(kind: LinkKind = 'websocket') {
    this.kind = kind;
    this.closed = new Promise((resolve) => {
      this.end = resolve;
    });
  }
  measureRoundTrip(): Promise<number> {
    return Promise.resolve(1);
  }
  sendDraining(): Promise<void> {
    return Promise.resolve();
  }
  close(reason: string): void {
    this.end({ reason });
  }
  terminate(): void {
    this.end({ reason: 'terminated' });
  }
}

/** Plays a script of attempts; after the last one the loop is stopped. */
async function play(
  steps: ((clock: FakeClock) => FakeLink | LinkError)[],
  giveUpAfterMs?: number,
  hasNewToken = false,
): Promise<{ clock: FakeClock; lines: ReturnType<typeof recordLog>['lines']; events: string[]; error: unknown }> {
  const clock = new FakeClock();
  const { logger, lines } = recordLog();
  const stop = new AbortController();
  const events: string[] = [];
  let index = 0;
  let error: unknown;
  await keepConnected(
    {
      connectOnce: async () => {
        const step = steps[index++];
        if (step === undefined) {
          stop.abort();
          throw stop.signal.reason;
        }
        const result = step(clock);
        if (result instanceof LinkError) throw result;
        return { link: result, isFallback: false };
      },
      improve: () => Promise.resolve(undefined),
      improveAfterMs: 600_000,
      hasNewToken: () => hasNewToken,
      giveUpAfterMs,
      backoff: new Backoff({ minMs: 500, maxMs: 30_000, random: () => clock.random() }),
      clock,
      logger,
      onUp: () => events.push('up'),
      onDown: ({ reason }) => events.push(`down: ${reason}`),
    },
    stop.signal,
  ).catch((thrown: unknown) => {
    error = thrown;
  });
  return { clock, lines, events, error };
}

const refused = (): LinkError => new LinkError('unreachable', 'nobody there');

const unauthorised = (): LinkError =>
  new LinkError('transport', 'the token has expired', { status: 401, code: 'unauthorized' });

const otherVersion = (): LinkError =>
  new LinkError('transport', 'speaks relay.v2', { status: 426, code: 'upgrade_required' });

/** A link that lives for a time and then ends. */
const lives =
  (ms: number, end: LinkEnd) =>
  (clock: FakeClock): FakeLink => {
    const link = new FakeLink();
    setImmediate(() => {
      clock.time += ms;
      link.end(end);
    });
    return link;
  };

describe('reconnecting', () => {
  test('waits longer after each failure', async () => {
    const { clock } = await play([refused, refused, refused, refused]);
    expect(clock.pauses).toEqual([500, 1000, 2000, 4000]);
  });

  test('begins anew after a link that lived, not after one that was cut at once', async () => {
    const cut = { reason: 'cut' };
    const { clock, events } = await play([refused, refused, lives(60_000, cut), lives(50, cut), lives(50, cut)]);
    expect(clock.pauses).toEqual([500, 1000, 500, 1000, 2000]);
    expect(events).toEqual(['up', 'down: cut', 'up', 'down: cut', 'up', 'down: cut']);
  });

  test('does not fight with another connector for its MAC', async () => {
    const replaced = lives(60_000, { code: 4000, reason: 'replaced by a newer connection' });
    const { clock, lines } = await play([replaced, replaced]);
    expect(clock.pauses).toEqual([30_000, 30_000]);
    expect(
      lines.filter(({ msg }) => msg.includes('another connector uses this MAC')).map(({ level }) => level),
    ).toEqual([WARN, WARN]);
  });

  test('goes slowly where it is not authorised, and says so as an error', async () => {
    const { clock, lines } = await play([lives(0, { code: 4001, reason: 'no' })]);
    expect(clock.pauses).toEqual([30_000]);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: ERROR, msg: expect.stringMatching(/does not accept the token/) }),
    );
  });

  test('comes back soon where there is another token by now', async () => {
    const { clock } = await play([lives(0, { code: 4001, reason: 'expired' }), unauthorised], undefined, true);
    expect(clock.pauses[0]).toBeLessThan(30_000);
    expect(clock.pauses[1]).toBeLessThan(30_000);
  });

  test.each(['unauthorized', 'forbidden'] as const)(
    'ends when it is refused (%s) before it was ever accepted, and goes slowly later',
    async (code) => {
      const refusal = (): LinkError => new LinkError('transport', 'no such token', { status: 401, code });
      const { error, clock } = await play([refused, refusal]);
      expect(error).toMatchObject({ code, message: 'no such token', exitCode: 6 });
      expect(clock.pauses).toHaveLength(1);
      const later = await play([lives(60_000, { reason: 'lost' }), refusal, refusal]);
      expect(later.error).toBeUndefined();
      expect(later.clock.pauses.slice(1)).toEqual([30_000, 30_000]);
    },
  );

  test('does not end where something in between refuses', async () => {
    const proxy = (): LinkError => new LinkError('transport', 'HTTP 403', { status: 403 });
    const { error, clock } = await play([proxy, proxy]);
    expect(error).toBeUndefined();
    expect(clock.pauses).toEqual([500, 1000]);
  });

  test('comes back soon after a router that goes down', async () => {
    const { clock } = await play([refused, lives(60_000, { code: 4002, reason: 'draining' })]);
    expect(clock.pauses).toEqual([500, 10_000]);
  });

  test('goes on looking soon while the next router is not there yet, for a minute', async () => {
    const { clock } = await play([
      lives(60_000, { code: 4002, reason: 'x' }),
      ...Array.from({ length: 7 }, () => refused),
    ]);
    expect(clock.pauses).toEqual([...Array.from({ length: 6 }, () => 10_000), 500, 1000]);
  });

  test('comes back soon also to a router that goes down when it is asked', async () => {
    const draining = (): LinkError => new LinkError('transport', 'going down', { status: 503, code: 'draining' });
    const { clock } = await play([draining, draining]);
    expect(clock.pauses).toEqual([10_000, 10_000]);
  });

  test('explains another protocol version and does not hurry', async () => {
    const { clock, lines } = await play([lives(60_000, { reason: 'restarted' }), otherVersion]);
    expect(clock.pauses).toEqual([500, 30_000]);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: ERROR, msg: expect.stringContaining('another version of the protocol') }),
    );
  });

  test('ends where the first router that it meets speaks another version', async () => {
    const { error, clock } = await play([refused, otherVersion, refused]);
    expect(error).toMatchObject({ code: 'upgrade_required', message: 'speaks relay.v2' });
    expect(clock.pauses).toEqual([500]);
  });

  test('warns at first and then once a minute', async () => {
    const { clock, lines } = await play(Array.from({ length: 12 }, () => refused));
    const warned = lines.filter(({ level }) => level === WARN);
    expect(lines.length).toBe(12);
    // Pauses of 0.5, 1, 2, 4, 8 and 16 s and then 30 s: due at once and at 61.5, 121.5 and 181.5 s.
    expect(warned.map(({ attempt }) => attempt)).toEqual([1, 8, 10, 12]);
    expect(clock.pauses.length).toBe(12);
    expect(warned[0]).toMatchObject({ reason: 'nobody there', attempt: 1 });
  });

  test('never gives up unless it is told to', async () => {
    const { error } = await play(Array.from({ length: 500 }, () => refused));
    expect(error).toBeUndefined();
    const limited = await play(
      Array.from({ length: 500 }, () => refused),
      120_000,
    );
    expect(limited.error).toMatchObject({ code: 'router_unreachable', message: 'nobody there' });
    expect(limited.clock.time).toBeGreaterThanOrEqual(120_000);
    expect(limited.clock.time).toBeLessThanOrEqual(180_000);
  });
});

interface Scene {
  first: FakeLink;
  clock: { release: () => void };
  improved: (link: Link | undefined) => void;
  events: string[];
  stop: AbortController;
  done: Promise<void>;
  tries: () => number;
  attempts: () => number;
  settle: () => Promise<void>;
}

/** A loop on an SSE link whose pauses and tries end when the test says so. */
function start(): Scene {
  const stop = new AbortController();
  const first = new FakeLink('sse');
  const events: string[] = [];
  let wake: (() => void) | undefined;
  let answer: ((link: Link | undefined) => void) | undefined;
  let tries = 0;
  let attempts = 0;
  const clock: Clock = {
    now: () => 0,
    random: () => 0,
    sleep: (_, signal) =>
      new Promise((resolve, reject) => {
        wake = resolve;
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  const done = keepConnected(
    {
      connectOnce: () => {
        attempts++;
        return Promise.resolve({ link: attempts === 1 ? first : new FakeLink('sse'), isFallback: true });
      },
      improve: (signal) => {
        tries++;
        return new Promise((resolve, reject) => {
          answer = resolve;
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      },
      improveAfterMs: 1000,
      hasNewToken: () => false,
      giveUpAfterMs: undefined,
      backoff: new Backoff({ minMs: 1, maxMs: 1, random: () => 0 }),
      clock,
      logger: recordLog().logger,
      onUp: (link) => events.push(`up ${link.kind}`),
      onDown: ({ reason }) => events.push(`down ${reason}`),
    },
    stop.signal,
  );
  return {
    first,
    clock: { release: () => wake?.() },
    improved: (link) => answer?.(link),
    events,
    stop,
    done,
    tries: () => tries,
    attempts: () => attempts,
    settle: () => new Promise((resolve) => setTimeout(resolve, 5)),
  };
}

describe('a fallback link', () => {
  test('gives way to a WebSocket that gets through, without a gap', async () => {
    const scene = start();
    await scene.settle();
    scene.clock.release();
    await scene.settle();
    // The router replaces the old link as soon as the new one reaches it.
    scene.first.end({ code: 4000, reason: 'replaced' });
    await scene.settle();
    expect(scene.events).toEqual(['up sse']);
    scene.improved(new FakeLink('websocket'));
    await scene.settle();
    expect(scene.events).toEqual(['up sse', 'up websocket']);
    scene.stop.abort();
    await scene.done;
    expect(scene.attempts()).toBe(1);
  });

  test('stays while WebSocket still does not get through', async () => {
    const scene = start();
    await scene.settle();
    scene.clock.release();
    await scene.settle();
    scene.improved(undefined);
    await scene.settle();
    scene.clock.release();
    await scene.settle();
    expect(scene.tries()).toBe(2);
    expect(scene.events).toEqual(['up sse']);
    scene.stop.abort();
    await scene.done;
    expect(scene.events).toEqual(['up sse', 'down the connector closes']);
  });

  test('that a WebSocket replaced which was then swallowed is opened again', async () => {
    const scene = start();
    await scene.settle();
    scene.clock.release();
    await scene.settle();
    scene.first.end({ code: 4000, reason: 'replaced' });
    await scene.settle();
    scene.improved(undefined);
    await scene.settle();
    expect(scene.events).toEqual(['up sse', 'down a WebSocket took its place and did not get through']);
    scene.clock.release();
    await scene.settle();
    expect(scene.attempts()).toBe(2);
    scene.stop.abort();
    await scene.done;
  });

  test('that another connector replaced is given up at once', async () => {
    const scene = start();
    await scene.settle();
    scene.first.end({ code: 4000, reason: 'replaced' });
    await scene.settle();
    expect(scene.events).toEqual(['up sse', 'down replaced']);
    scene.stop.abort();
    await scene.done;
    expect(scene.tries()).toBe(0);
  });
});
