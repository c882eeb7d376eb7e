import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { LineRate } from '../../../src/http/line-rate.ts';
import { Pace } from '../../../src/http/pace.ts';
import type { Timer } from '../../../src/http/timer.ts';
import { ResponseBody } from '../../../src/router/patterns/response-body.ts';

const TEXT = Buffer.alloc(64 * 1024, 'time,sensor,value\n2026-01-01T00:00,17,21.5\n');

/** A body on a line of so many bytes a millisecond. */
function bodyOn(rate?: number): ResponseBody {
  const line = new LineRate();
  if (rate !== undefined) line.note({ bytes: rate * 1000, ms: 1000, madeMs: 0 }, performance.now());
  return new ResponseBody(new EventEmitter() as ServerResponse, line);
}

test.each(['zstd', 'gzip'] as const)('a text is worth %s but where the line is faster than the coder', (coding) => {
  expect(bodyOn().isWorthCoding(coding, TEXT)).toBe(true);
  expect(bodyOn(1000).isWorthCoding(coding, TEXT)).toBe(true);
  expect(bodyOn(100_000_000).isWorthCoding(coding, TEXT)).toBe(false);
});

test('neither what is small nor what does not become smaller is worth it', () => {
  expect(bodyOn(1000).isWorthCoding('zstd', TEXT.subarray(0, 500))).toBe(false);
  expect(bodyOn(1000).isWorthCoding('zstd', randomBytes(64 * 1024))).toBe(false);
});

test('what goes to one network at once is what its line carries', async () => {
  const line = new LineRate();
  const responses = Array.from({ length: 4 }, () => Object.assign(new EventEmitter(), { write: () => true }));
  const bodies = responses.map((response) => new ResponseBody(response as unknown as ServerResponse, line));
  const begunAt = performance.now();
  // More than what may lie in buffers.
  for (const body of bodies) for (let piece = 0; piece < 80; piece++) body.write(Buffer.from(TEXT));
  for (const response of responses) response.emit('finish');
  const rate = (4 * 80 * TEXT.length) / Math.max(performance.now() - begunAt, 1);
  expect(line.atLeast(performance.now())).toBeGreaterThanOrEqual(rate * 0.9);
});

describe('at a pace', () => {
  /** A response that takes all that is written, and how much of it there is. */
  class Target extends Writable {
    readonly pieces: Buffer[] = [];
    override _write(piece: Buffer, _: string, done: () => void): void {
      this.pieces.push(Buffer.from(piece));
      done();
    }
    get bytes(): Buffer {
      return Buffer.concat(this.pieces);
    }
  }

  /** Time that goes on when it is told to. */
  class Hand implements Timer {
    time = 0;
    #sleepers: (() => void)[] = [];
    now(): number {
      return this.time;
    }
    sleep(ms: number, signal: AbortSignal): Promise<void> {
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        const until = this.time + ms;
        const look = (): void => {
          if (this.time >= until) resolve();
          else this.#sleepers.push(look);
        };
        look();
      });
    }
    async goOn(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= 10) {
        this.time += 10;
        for (const look of this.#sleepers.splice(0)) look();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  test('wants no more while a piece of it waits, and lets go of each once it is written', async () => {
    const hand = new Hand();
    const target = new Target();
    const body = new ResponseBody(target as unknown as ServerResponse, new LineRate(), new Pace(100_000, hand));
    const piece = randomBytes(64_000);
    expect(body.write(Buffer.from(piece))).toBe(false);
    const drained = body.drained().then(() => hand.time);
    await hand.goOn(400);
    expect(target.bytes.length).toBeGreaterThan(40_000);
    expect(target.bytes.length).toBeLessThan(piece.length);
    await hand.goOn(400);
    // Less what goes at once.
    expect(await drained).toBeGreaterThanOrEqual(490);
    expect(target.bytes.equals(piece)).toBe(true);
    const last = randomBytes(10_000);
    body.write(Buffer.from(last));
    body.end(Buffer.from('x'));
    expect(target.writableEnded).toBe(false);
    await hand.goOn(200);
    expect(target.writableFinished).toBe(true);
    expect(target.bytes.equals(Buffer.concat([piece, last, Buffer.from('x')]))).toBe(true);
  });

  test('counts what is coded as it goes, and ends it whole', async () => {
    const hand = new Hand();
    const target = new Target();
    const body = new ResponseBody(target as unknown as ServerResponse, new LineRate(), new Pace(2000, hand));
    body.encode('zstd');
    const text = Buffer.concat(
      Array.from({ length: 20 }, (_, n) => Buffer.concat([randomBytes(100), TEXT, Buffer.from([n])])),
    );
    if (!body.write(Buffer.from(text))) await body.drained();
    body.end(undefined);
    while (!target.writableFinished) await hand.goOn(10);
    expect(zstdDecompressSync(target.bytes).equals(text)).toBe(true);
    expect(hand.time).toBeGreaterThan(target.bytes.length / 2 - 1200);
    expect(target.bytes.length).toBeLessThan(text.length / 10);
  });

  test('lets go of who waits, and of the pace, when the app goes away', async () => {
    const hand = new Hand();
    const target = new Target();
    const pace = new Pace(1000, hand);
    const body = new ResponseBody(target as unknown as ServerResponse, new LineRate(), pace);
    body.write(randomBytes(64_000));
    const drained = body.drained();
    target.destroy();
    await drained;
    const next = new ResponseBody(new Target() as unknown as ServerResponse, new LineRate(), pace);
    next.write(randomBytes(1000));
    const through = next.drained();
    await hand.goOn(2200);
    await through;
    // The first thousand bytes went, the others never will.
    expect(hand.time).toBeLessThan(3000);
  });

  test('the pace counts as the line: what is worth coding on it is coded', () => {
    const line = new LineRate();
    line.note({ bytes: 100_000_000_000, ms: 1000, madeMs: 0 }, performance.now());
    const bodyAt = (pace?: Pace): ResponseBody =>
      new ResponseBody(new Target() as unknown as ServerResponse, line, pace);
    expect(bodyAt().isWorthCoding('zstd', TEXT)).toBe(false);
    expect(bodyAt(new Pace(1_000_000, new Hand())).isWorthCoding('zstd', TEXT)).toBe(true);
  });
});
