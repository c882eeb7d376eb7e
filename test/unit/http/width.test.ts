import { describe, expect, test } from '@jest/globals';
import { Width } from '../../../src/http/width.ts';

const WAY_MS = 80;
const PIECE = 256 * 1024;
const MIB = 1024 * 1024;

/** A line with a queue before it, and connections that carry no more than their windows. */
interface Line {
  /** What each connection carries and what all of them do at most, in bytes a millisecond. */
  readonly each: number;
  readonly all: number;
  /** The way itself, in ms; default that which was measured before. */
  readonly wayMs?: number;
  /** Among so many round trips one is lost and takes so much longer, in ms. */
  readonly loses?: { readonly every: number; readonly ms: number };
  readonly isHeldBack?: boolean;
}

/** Sends for a while. @returns the widths that were used, one for each round trip. */
function play(width: Width, line: Line, roundTrips: number, from = 0): number[] {
  const used: number[] = [];
  let now = from;
  for (let count = 1; count <= roundTrips; count++) {
    const { value, chunkBytes } = width;
    const rate = Math.min(line.all, value * line.each);
    // What is under way beyond what the line holds waits in its queue.
    const wayMs = line.wayMs ?? WAY_MS;
    const queueMs = rate < line.all ? 0 : Math.max(0, (value * chunkBytes) / line.all - wayMs);
    const lostMs = line.loses !== undefined && count % line.loses.every === 0 ? line.loses.ms : 0;
    width.noteRoundTrip(wayMs + queueMs + lostMs);
    if (line.isHeldBack === true) width.noteHeldBack();
    const end = now + WAY_MS;
    const stepMs = PIECE / rate;
    for (; now < end; now += stepMs) width.note(PIECE, now);
    used.push(value);
  }
  return used;
}

const open = (options: { most?: number; rate?: number } = {}): Width =>
  new Width({ most: 16, roundTripMs: WAY_MS, rate: undefined, now: 0, ...options });

describe('the number of chunks side by side', () => {
  test('grows to the most while no queue forms', () => {
    expect(play(open(), { each: 1000, all: Infinity }, 200).at(-1)).toBe(16);
    expect(play(open({ most: 3 }), { each: 1000, all: Infinity }, 200).at(-1)).toBe(3);
  });

  test('stays as it is once the line is full, though fewer would do', () => {
    const used = play(open(), { each: 36_000, all: 117_000 }, 400);
    expect(new Set(used)).toEqual(new Set([8]));
  });

  test('grows no more once a queue has formed, but after a long time without one', () => {
    const width = open();
    play(width, { each: 36_000, all: 117_000 }, 40);
    const now = 40 * WAY_MS;
    expect(play(width, { each: 1000, all: Infinity }, 25, now).at(-1)).toBe(8);
    expect(play(width, { each: 1000, all: Infinity }, 40, now + 25 * WAY_MS).at(-1)).toBe(9);
  });

  test('becomes smaller where the queue is as long as the way', () => {
    // 8 MiB are under way on a line that holds one.
    const used = play(open(), { each: 12_500, all: 12_500 }, 200);
    expect(used.at(-1)).toBeLessThanOrEqual(4);
    expect(used.at(-1)).toBeGreaterThanOrEqual(2);
  });

  test('becomes no smaller where that costs what comes: then the way itself is longer', () => {
    const used = play(open(), { each: 1000, all: Infinity, wayMs: 3 * WAY_MS }, 300);
    expect(Math.min(...used)).toBeGreaterThanOrEqual(6);
    expect(used.at(-1)).toBe(8);
  });

  test('grows under losses, which round trips meet as well', () => {
    const used = play(open(), { each: 500, all: Infinity, loses: { every: 5, ms: 300 } }, 300);
    expect(used.at(-1)).toBe(16);
  });

  test('does not grow while the router takes no more', () => {
    expect(play(open(), { each: 1000, all: Infinity, isHeldBack: true }, 200).at(-1)).toBe(8);
  });

  test('does not grow where nobody measures round trips', () => {
    const width = open();
    for (let now = 0; now < 60_000; now += 10) width.note(PIECE, now);
    expect(width.value).toBe(8);
  });
});

describe('the length of a chunk', () => {
  test('is the most to begin with, or what the line is known to carry', () => {
    expect(open().chunkBytes).toBe(2 * MIB);
    expect(open({ rate: 16_000 }).chunkBytes).toBe(1_000_000);
    expect(open({ rate: 100 }).chunkBytes).toBe(MIB / 4);
  });

  test('becomes what a connection carries in half a second', () => {
    const width = open({ most: 8 });
    play(width, { each: 1500, all: Infinity }, 40);
    expect(width.chunkBytes / 1500).toBeGreaterThan(400);
    expect(width.chunkBytes / 1500).toBeLessThan(600);
  });

  test('becomes shorter also where hardly anything gets through', () => {
    const width = open();
    width.note(PIECE, 0);
    width.note(PIECE, 12 * WAY_MS);
    expect(width.chunkBytes).toBe(MIB / 4);
  });
});
