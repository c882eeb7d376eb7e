import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RelayError } from '../../../src/protocol/errors.ts';
import { Exchange } from '../../../src/router/exchange.ts';
import { Transfer } from '../../../src/router/transfer.ts';
import { exchangeOptions, FakeBody, FakeLink, FakeSink } from './fakes.ts';

/** What a connector may do, in any order. `at` is an offset; without one the bytes follow those that are there. */
type Step =
  | { do: 'init'; size: number | undefined; etag: string | undefined }
  | { do: 'chunk'; at: number | undefined; length: number }
  | { do: 'body'; at: number | undefined; size: number | undefined; etag: string | undefined }
  | { do: 'arrive'; length: number }
  | { do: 'finish' | 'break' }
  | { do: 'complete'; size: number | undefined }
  /** The app stops reading, or reads again. */
  | { do: 'fill' | 'drain' };

const SIZE = 12;
/** Mostly the truth, since a connector that always lies does not get far. */
const size = fc.oneof(
  { weight: 6, arbitrary: fc.constant(SIZE) },
  { weight: 2, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.nat(SIZE + 2) },
);
const etag = fc.oneof(
  { weight: 4, arbitrary: fc.constant('"e"') },
  { weight: 4, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constant('"f"') },
);
const at = fc.oneof({ weight: 3, arbitrary: fc.nat(SIZE + 1) }, { weight: 1, arbitrary: fc.constant(undefined) });
const length = fc.nat(8);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('init' as const), size, etag }),
  { weight: 4, arbitrary: fc.record({ do: fc.constant('chunk' as const), at, length }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('body' as const), at, size, etag }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('arrive' as const), length }) },
  fc.record({ do: fc.constantFrom('finish' as const, 'finish' as const, 'break' as const) }),
  fc.record({ do: fc.constant('complete' as const), size }),
);
const pacing: fc.Arbitrary<Step> = fc.record({ do: fc.constantFrom('fill' as const, 'drain' as const) });

/** The dataset, as long as anybody likes; no two bytes near each other are alike. */
const content = (from: number, count: number): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, n) => ((from + n) * 37 + 11) & 0xff));

/** What should become of it, told as plainly as possible: counters only, no bytes, no promises. */
class Model {
  next = 0;
  over: 'no' | 'succeeded' | 'failed' = 'no';
  #meta: { size: number | undefined; etag: string | undefined } | undefined;
  #sequential = false;
  #completed = false;
  #body: { sequential: boolean; skip: number } | undefined;

  get arriving(): boolean {
    return this.#body !== undefined;
  }

  apply(one: Step): void {
    if (this.over !== 'no') return;
    if (one.do === 'init') this.#init(one.size, one.etag);
    else if (one.do === 'chunk') this.#chunk(one.at, one.length);
    else if (one.do === 'body') this.#begin(one.at, one.size, one.etag);
    else if (one.do === 'arrive') this.#arrive(one.length);
    else if (one.do === 'finish') this.#finish();
    else if (one.do === 'break') this.#break();
    else if (one.do === 'complete') this.#complete(one.size);
    if (this.over !== 'no') this.#body = undefined;
  }

  #init(total: number | undefined, tag: string | undefined): void {
    if (this.#meta === undefined) this.#meta = { size: total, etag: tag };
    else if (this.#sequential || this.#contradicts(total, tag)) this.over = 'failed';
  }

  #contradicts(total: number | undefined, tag: string | undefined): boolean {
    const { size: own, etag: ownTag } = this.#meta ?? { size: undefined, etag: undefined };
    const clash = (a: unknown, b: unknown): boolean => a !== undefined && b !== undefined && a !== b;
    return clash(own, total) || clash(ownTag, tag);
  }

  /** How many bytes of a chunk are there already; undefined where it is not taken at all. */
  #place(offset: number | undefined): { skip: number; cutSequential: boolean } | undefined {
    if (offset === undefined) {
      if (this.#body !== undefined) {
        this.over = 'failed';
        return undefined;
      }
      this.#sequential = true;
      return { skip: 0, cutSequential: false };
    }
    if (offset > this.next) return undefined;
    const cutSequential = this.#body?.sequential === true;
    this.#body = undefined;
    return { skip: this.next - offset, cutSequential };
  }

  #chunk(offset: number | undefined, count: number): void {
    const place = this.#place(offset);
    if (place === undefined) return;
    this.#take(count - place.skip);
    this.#endIfComplete();
    if (place.cutSequential && this.over === 'no') this.over = 'failed';
  }

  #begin(offset: number | undefined, total: number | undefined, tag: string | undefined): void {
    const place = this.#place(offset);
    if (place === undefined) return;
    if (this.#meta === undefined) this.#meta = { size: total, etag: tag };
    else if (this.#contradicts(total, tag)) this.over = 'failed';
    if (place.cutSequential) this.over = 'failed';
    this.#body = { sequential: offset === undefined, skip: place.skip };
  }

  #arrive(count: number): void {
    if (this.#body === undefined) return;
    const skipped = Math.min(this.#body.skip, count);
    this.#body.skip -= skipped;
    this.#take(count - skipped);
  }

  #finish(): void {
    if (this.#body === undefined) return;
    this.#body = undefined;
    this.#endIfComplete();
  }

  #break(): void {
    if (this.#body?.sequential === true) this.over = 'failed';
    this.#body = undefined;
  }

  #complete(total: number | undefined): void {
    const announced = this.#meta?.size;
    const whole = total ?? announced;
    if (whole === undefined) return;
    if (announced === undefined ? whole !== this.next : whole !== announced) {
      this.over = 'failed';
      return;
    }
    this.#meta ??= { size: whole, etag: undefined };
    this.#completed = true;
    if (announced === undefined) this.over = 'succeeded';
    else this.#endIfComplete();
  }

  #take(count: number): void {
    if (count <= 0) return;
    this.#meta ??= { size: undefined, etag: undefined };
    if (this.#meta.size !== undefined && this.next + count > this.#meta.size) this.over = 'failed';
    else this.next += count;
  }

  #endIfComplete(): void {
    if (this.over === 'no' && this.#completed && this.next === this.#meta?.size) this.over = 'succeeded';
  }
}

/** The steps, and then what a connector does that sends the rest and is done. */
function* endHonestly(steps: readonly Step[], model: Model): Generator<Step> {
  yield* steps;
  yield { do: 'chunk', at: model.next, length: Math.max(0, SIZE - model.next) };
  yield { do: 'complete', size: SIZE };
}

/** The real thing, doing what the steps say. */
class Subject {
  readonly sink = new FakeSink();
  readonly transfer = new Transfer(this.sink);
  readonly exchange: Exchange;
  readonly replies: Promise<unknown>[] = [];
  #body: FakeBody | undefined;
  /** Offset of the next byte that the body brings. */
  #position = 0;

  constructor() {
    const { transfer } = this;
    this.exchange = new Exchange(
      exchangeOptions('a', {
        beginTimeoutMs: () => 60_000,
        silenceTimeoutMs: () => 60_000,
        answer: { transfer, fail: (error) => transfer.abort(error) },
      }),
      { ended: () => {}, fellSilent: () => false },
    );
    this.exchange.markSent(new FakeLink());
    transfer.attach(this.exchange);
  }

  async apply(one: Step): Promise<void> {
    const { transfer } = this;
    const reply = async (work: () => unknown): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof RelayError) || error.code === 'internal') throw error;
      }
    };
    if (one.do === 'init') this.replies.push(reply(() => transfer.init({ totalSize: one.size, etag: one.etag })));
    else if (one.do === 'chunk') {
      const from = one.at ?? transfer.nextOffset;
      this.replies.push(reply(() => transfer.chunk(one.at, content(from, one.length))));
    } else if (one.do === 'body') {
      const body = new FakeBody();
      const from = one.at ?? transfer.nextOffset;
      const before = this.exchange.arriving;
      const taken = one.at === undefined ? before === 0 : from <= transfer.nextOffset;
      this.replies.push(reply(() => transfer.receive(body.message, one.at, { totalSize: one.size, etag: one.etag })));
      if (taken) {
        this.#body = body;
        this.#position = from;
      }
    } else if (one.do === 'arrive') {
      this.#body?.arrive(content(this.#position, one.length));
      this.#position += one.length;
    } else if (one.do === 'finish') this.#body?.finish();
    else if (one.do === 'break') this.#body?.breakOff();
    else if (one.do === 'complete') this.replies.push(reply(() => transfer.complete(one.size, { digest: 'd' })));
    else if (one.do === 'fill') this.sink.full = true;
    else this.sink.drain();
    // Whatever follows of it follows in microtasks.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** No byte is wrong, missing in the middle or there twice, and an end comes only with all of them. */
  isSound(): boolean {
    const { sink, transfer, exchange } = this;
    const whole = sink.begun[0]?.totalSize ?? transfer.nextOffset;
    return (
      sink.bytes.equals(content(0, transfer.nextOffset)) &&
      sink.begun.length <= 1 &&
      sink.ends.length === (exchange.state === 'succeeded' ? 1 : 0) &&
      sink.ends.every((end) => end.bytes.length === whole)
    );
  }

  async close(): Promise<void> {
    this.exchange.fail(new RelayError('draining'));
    this.sink.drain();
    // One that brought all there was may still be open.
    this.#body?.breakOff();
    await Promise.all(this.replies);
  }
}

describe('whatever a connector sends, in whatever order', () => {
  test('the app gets what the model says', async () => {
    const ends = { no: 0, succeeded: 0, failed: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15, size: 'max' }), fc.boolean(), async (steps, honestly) => {
        const model = new Model();
        const subject = new Subject();
        for (const one of honestly ? endHonestly(steps, model) : steps) {
          model.apply(one);
          await subject.apply(one);
          const { state, arriving } = subject.exchange;
          expect({
            over: state === 'succeeded' || state === 'failed' ? state : 'no',
            next: subject.transfer.nextOffset,
          }).toEqual({ over: model.over, next: model.next });
          if (model.over === 'no') expect(arriving).toBe(model.arriving ? 1 : 0);
          expect(subject.isSound()).toBe(true);
        }
        ends[model.over]++;
        await subject.close();
        expect(subject.exchange.arriving).toBe(0);
      }),
      { numRuns: 1500 },
    );
    // The steps are worth something only while they lead everywhere.
    for (const count of Object.values(ends)) expect(count).toBeGreaterThan(10);
  });

  test('no byte is wrong and no reply is owed, whenever the app stops reading', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 4, arbitrary: step }, { weight: 1, arbitrary: pacing }), {
          maxLength: 25,
          size: 'max',
        }),
        async (steps) => {
          const subject = new Subject();
          for (const one of steps) {
            await subject.apply(one);
            expect(subject.isSound()).toBe(true);
          }
          await subject.close();
          expect(subject.isSound()).toBe(true);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
