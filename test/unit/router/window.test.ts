import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { RelayError } from '../../../src/protocol/errors.ts';
import { Window, WindowBudget } from '../../../src/router/window.ts';

const MIB = 1024 * 1024;

/** A window over a sink that a test opens and closes. */
class Scene {
  readonly written: Buffer[] = [];
  readonly budget: WindowBudget;
  readonly window: Window;
  next: number;
  isFull = false;
  #drained: (() => void)[] = [];

  constructor({ next = 0, budgetBytes = 64 * MIB } = {}) {
    this.next = next;
    this.budget = new WindowBudget(budgetBytes);
    this.window = new Window(
      {
        noteBytes: () => {},
        nextOffset: () => this.next,
        write: (bytes) => {
          this.written.push(Buffer.from(bytes));
          this.next += bytes.length;
          return !this.isFull;
        },
        drained: () => new Promise((resolve) => this.#drained.push(resolve)),
      },
      this.budget,
    );
  }

  get text(): string {
    return Buffer.concat(this.written).toString();
  }

  drain(): void {
    this.isFull = false;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}

/** A body under way, as a server sees it. */
function makeBody(length?: number): PassThrough & IncomingMessage {
  const headers = length === undefined ? {} : { 'content-length': String(length) };
  return Object.assign(new PassThrough({ highWaterMark: 16 }), { headers }) as never;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const GONE = new RelayError('request_gone');

afterEach(() => {
  jest.useRealTimers();
});

describe('a window', () => {
  test('passes on in order what arrives in any', async () => {
    const scene = new Scene();
    await scene.window.take(3, Buffer.from('def'));
    expect([scene.text, scene.budget.used]).toEqual(['', 3]);
    await scene.window.take(6, Buffer.from('gh'));
    await scene.window.take(0, Buffer.from('abc'));
    expect([scene.text, scene.budget.used]).toEqual(['abcdefgh', 0]);
  });

  test('passes on the part whose turn it is while it arrives, and holds the others', async () => {
    const scene = new Scene();
    const [first, second] = [makeBody(6), makeBody(4)];
    const both = [scene.window.receive(first, 0), scene.window.receive(second, 6)];
    second.end('ghij');
    first.write('ab');
    await turn();
    await turn();
    expect(scene.text).toBe('ab');
    first.end('cdef');
    await Promise.all(both);
    expect([scene.text, scene.budget.used]).toEqual(['abcdefghij', 0]);
  });

  test('skips what is there already, and takes nothing twice', async () => {
    const scene = new Scene();
    await scene.window.take(0, Buffer.from('abcd'));
    await scene.window.take(0, Buffer.from('abcdef'));
    await scene.window.take(8, Buffer.from('ij'));
    await scene.window.take(5, Buffer.from('fghij'));
    expect([scene.text, scene.next, scene.budget.used]).toEqual(['abcdefghij', 10, 0]);
  });

  test('lets a newer chunk take the place of one that still arrives', async () => {
    const scene = new Scene();
    const old = makeBody(6);
    const cut = scene.window.receive(old, 0);
    old.write('ab');
    await turn();
    await turn();
    const outcome = cut.catch((error: unknown) => error);
    await scene.window.take(0, Buffer.from('abcdef'));
    expect(await outcome).toMatchObject({ code: 'transfer_interrupted' });
    old.write('XX');
    await turn();
    expect(scene.text).toBe('abcdef');
  });

  test('refuses what begins beyond it, and says where it ends', () => {
    const scene = new Scene({ next: 5 });
    expect(() => scene.window.check(scene.window.end - 1)).not.toThrow();
    expect(() => scene.window.check(scene.window.end)).toThrow(
      expect.objectContaining({
        code: 'offset_mismatch',
        details: { next_offset: 5, window_end: scene.window.end },
      }),
    );
  });

  test('holds a sender back that is ahead of it or of the budget, but never the one whose turn it is', async () => {
    const scene = new Scene({ budgetBytes: 4 });
    const [head, ahead] = [makeBody(100), makeBody(100)];
    const both = [scene.window.receive(head, 0), scene.window.receive(ahead, 100)];
    ahead.write('x'.repeat(10));
    await turn();
    await turn();
    expect(ahead.isPaused()).toBe(true);
    head.write('a'.repeat(50));
    await turn();
    await turn();
    expect([head.isPaused(), scene.next]).toEqual([false, 50]);
    head.end('a'.repeat(50));
    ahead.end('x'.repeat(90));
    await Promise.all(both);
    expect([scene.next, scene.budget.used]).toEqual([200, 0]);
  });

  test('holds everybody back while the sink is full, and goes on from there', async () => {
    const scene = new Scene();
    scene.isFull = true;
    const head = makeBody(MIB);
    const done = scene.window.receive(head, 0);
    for (let piece = 0; piece < 16; piece++) head.write(Buffer.alloc(64 * 1024, 97));
    head.end();
    for (let count = 0; count < 20; count++) await turn();
    expect(head.isPaused()).toBe(true);
    expect(scene.next).toBe(64 * 1024);
    expect(scene.budget.used).toBeLessThan(512 * 1024);
    scene.drain();
    await done;
    expect([scene.next, scene.budget.used]).toEqual([MIB, 0]);
  });

  test('answers the part whose turn it is when the sink has taken all of it, or after 20 s as things stand', async () => {
    jest.useFakeTimers();
    const scene = new Scene();
    scene.isFull = true;
    await scene.window.take(0, Buffer.from('ab'));
    const nexts: number[] = [];
    const note = (): void => void nexts.push(scene.next);
    const late = scene.window.take(2, Buffer.from('cd')).then(note);
    await jest.advanceTimersByTimeAsync(19_999);
    expect(nexts).toEqual([]);
    await jest.advanceTimersByTimeAsync(1);
    await late;
    const inTime = scene.window.take(2, Buffer.from('cdef')).then(note);
    await jest.advanceTimersByTimeAsync(10);
    scene.drain();
    await inTime;
    expect(nexts).toEqual([2, 6]);
    expect([scene.text, scene.budget.used]).toEqual(['abcdef', 0]);
  });

  test('answers a part beyond which there is no room after 20 s as things stand', async () => {
    jest.useFakeTimers();
    const scene = new Scene();
    let answered = false;
    const answer = scene.window.take(1, Buffer.alloc(scene.window.end)).then(() => {
      answered = true;
    });
    await jest.advanceTimersByTimeAsync(19_999);
    expect(answered).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    await answer;
    expect(answered).toBe(true);
  });

  test('answers it as soon as there is room', async () => {
    const scene = new Scene();
    const answer = scene.window.take(1, Buffer.alloc(scene.window.end));
    await scene.window.take(0, Buffer.from('a'));
    await answer;
    expect(scene.budget.used).toBe(0);
  });

  test('lets go of all when it is cut, and may be filled again', async () => {
    const scene = new Scene();
    const body = makeBody(10);
    const cut = scene.window.receive(body, 5);
    body.write('abc');
    await turn();
    await turn();
    const outcome = cut.catch((error: unknown) => error);
    scene.window.cut(GONE);
    expect(await outcome).toBe(GONE);
    expect(scene.budget.used).toBe(0);
    await scene.window.take(0, Buffer.from('0123456789'));
    expect(scene.text).toBe('0123456789');
  });

  test('brings every byte once and in order, whatever comes when, cut and sent again', async () => {
    const content = Buffer.from(Array.from({ length: 300 }, (_, index) => index % 251));
    const part = fc.record({
      start: fc.nat(299),
      length: fc.integer({ min: 0, max: 120 }),
      cutAt: fc.option(fc.nat(119)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 12 }), fc.array(fc.boolean()), async (parts, fullness) => {
        const scene = new Scene({ budgetBytes: 100 });
        const outcomes = parts.map(({ start, length, cutAt }, index) => {
          scene.isFull = fullness[index] ?? false;
          const bytes = content.subarray(start, start + length);
          const body = makeBody(bytes.length);
          const outcome = scene.window.receive(body, start).catch(() => {});
          if (cutAt !== null && cutAt < bytes.length) {
            body.write(bytes.subarray(0, cutAt));
            body.on('error', () => {});
            setImmediate(() => body.destroy());
          } else body.end(bytes);
          return outcome;
        });
        for (let count = 0; count < 5; count++) await turn();
        scene.drain();
        // Whoever is still missing something sends it in one piece.
        await scene.window.take(scene.next, content.subarray(scene.next));
        for (let count = 0; count < 5; count++) {
          scene.drain();
          await turn();
        }
        expect(Buffer.concat(scene.written).equals(content)).toBe(true);
        scene.window.cut(GONE);
        scene.window.finish();
        await Promise.all(outcomes);
        expect(scene.budget.used).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});
