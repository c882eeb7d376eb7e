import { PassThrough } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { type Passing, passBody } from '../../../src/http/body.ts';

const PIECE = Buffer.alloc(64 * 1024);

/** A body that is passed on, and how much of it was. */
class Body implements Disposable {
  readonly #stream = new PassThrough({ highWaterMark: 16 * 1024 * 1024 });
  readonly #passing: Passing;
  passed = 0;

  constructor() {
    this.#passing = passBody(
      this.#stream,
      (piece) => {
        this.passed += piece.length;
      },
      () => {},
    );
    this.#passing.done.catch(() => {});
  }

  /** So many pieces arrive at once. */
  arrive(count: number): void {
    for (let index = 0; index < count; index++) this.#stream.write(PIECE);
  }

  hold(): void {
    this.#passing.hold();
  }

  release(): void {
    this.#passing.release();
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }

  /** Resolves when it flows. */
  async flowing(): Promise<this> {
    await nextTurn();
    return this;
  }
}

describe('bodies that arrive at once', () => {
  test('take turns: none passes on all that it has before another begins', async () => {
    using one = await new Body().flowing();
    using other = await new Body().flowing();
    one.arrive(64);
    other.arrive(64);
    expect(one.passed).toBeLessThan(8 * PIECE.length);
    expect(other.passed).toBeGreaterThan(0);
    expect(other.passed).toBeLessThan(8 * PIECE.length);
    for (let turn = 0; turn < 64 && other.passed < 64 * PIECE.length; turn++) await nextTurn();
    expect([one.passed, other.passed]).toEqual([64 * PIECE.length, 64 * PIECE.length]);
  });

  test('a body that is alone waits for nothing', async () => {
    using one = await new Body().flowing();
    {
      using gone = await new Body().flowing();
      gone.arrive(1);
    }
    await nextTurn();
    one.arrive(64);
    expect(one.passed).toBe(64 * PIECE.length);
  });

  test('a body that is held does not go on when its turn comes', async () => {
    using one = await new Body().flowing();
    using other = await new Body().flowing();
    one.arrive(64);
    one.hold();
    const { passed } = one;
    other.arrive(64);
    for (let turn = 0; turn < 64 && other.passed < 64 * PIECE.length; turn++) await nextTurn();
    expect(one.passed).toBe(passed);
    one.release();
    for (let turn = 0; turn < 64 && one.passed < 64 * PIECE.length; turn++) await nextTurn();
    expect(one.passed).toBe(64 * PIECE.length);
  });
});
