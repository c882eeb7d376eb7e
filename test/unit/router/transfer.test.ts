import { afterEach, describe, expect, test } from '@jest/globals';
import { RelayError } from '../../../src/protocol/errors.ts';
import { Exchange } from '../../../src/router/exchange.ts';
import { Transfer } from '../../../src/router/transfer.ts';
import { WindowBudget } from '../../../src/router/window.ts';
import { exchangeOptions, FakeBody, FakeLink, FakeSink } from './fakes.ts';

const open: Exchange[] = [];

afterEach(() => {
  for (const exchange of open.splice(0)) exchange.fail(new RelayError('draining'));
});

function begin() {
  const sink = new FakeSink();
  const transfer = new Transfer(sink);
  const errors: RelayError[] = [];
  const exchange = new Exchange(
    exchangeOptions('a', {
      beginTimeoutMs: () => 60_000,
      silenceTimeoutMs: () => 60_000,
      // As the patterns do.
      answer: {
        transfer,
        fail: (error) => {
          errors.push(error);
          transfer.abort(error);
        },
      },
    }),
    { ended: () => {}, fellSilent: () => false },
  );
  exchange.markSent(new FakeLink());
  transfer.attach(exchange);
  open.push(exchange);
  return { sink, transfer, exchange, errors };
}

const bytes = (text: string): Buffer => Buffer.from(text);
const codeOf = (work: Promise<unknown> | (() => unknown)): Promise<string> =>
  (async () => (typeof work === 'function' ? work() : work))().then(
    () => 'no error',
    (error: RelayError) => error.code,
  );

describe('init', () => {
  test('fixes size and entity tag; one that agrees is told the next offset', async () => {
    const { sink, transfer } = begin();
    expect(transfer.init({ totalSize: 4, etag: '"e"', contentType: 'text/csv' })).toBe(0);
    await transfer.chunk(0, bytes('ab'));
    expect(transfer.init({ totalSize: 4, etag: '"e"' })).toBe(2);
    expect(transfer.init({})).toBe(2);
    expect(sink.begun).toEqual([{ totalSize: 4, etag: '"e"', contentType: 'text/csv' }]);
    expect(transfer.nextOffset).toBe(2);
  });

  test.each([{ totalSize: 5 }, { etag: '"f"' }])('that differs ends the request: %p', async (meta) => {
    const { transfer, errors } = begin();
    transfer.init({ totalSize: 4, etag: '"e"' });
    expect(await codeOf(() => transfer.init(meta))).toBe('dataset_changed');
    expect(errors).toMatchObject([{ code: 'dataset_changed', retryable: true }]);
  });

  test('among chunks without offsets ends the request', async () => {
    const { transfer, errors } = begin();
    transfer.init({ totalSize: 4 });
    await transfer.chunk(undefined, bytes('ab'));
    expect(await codeOf(() => transfer.init({ totalSize: 4 }))).toBe('connector_failed');
    expect(errors).toHaveLength(1);
  });

  test('of a dataset that the sink will not take ends the request with the reason', async () => {
    const { sink, transfer, errors } = begin();
    sink.refusal = new RelayError('dataset_too_large');
    expect(await codeOf(() => transfer.init({ totalSize: 4 }))).toBe('dataset_too_large');
    expect(errors).toMatchObject([{ code: 'dataset_too_large' }]);
    expect(sink.bytes).toHaveLength(0);
  });
});

describe('a chunk', () => {
  test('that leaves a gap is refused with the next offset, and nothing begins', async () => {
    const { sink, transfer, errors } = begin();
    await expect(transfer.chunk(1, bytes('b'))).rejects.toMatchObject({
      code: 'offset_mismatch',
      details: { next_offset: 0 },
    });
    const body = new FakeBody();
    expect(await codeOf(() => transfer.receive(body.message, 1, { totalSize: 2 }))).toBe('offset_mismatch');
    expect(sink.begun).toEqual([]);
    expect(errors).toEqual([]);
  });

  test('may be sent again from any offset: what is there already is skipped', async () => {
    const { sink, transfer } = begin();
    transfer.init({ totalSize: 6 });
    expect(await transfer.chunk(0, bytes('abc'))).toBe(3);
    expect(await transfer.chunk(0, bytes('abc'))).toBe(3);
    expect(await transfer.chunk(1, bytes('bcd'))).toBe(4);
    expect(await transfer.chunk(0, bytes('a'))).toBe(4);
    expect(await transfer.chunk(4, Buffer.alloc(0))).toBe(4);
    const body = new FakeBody();
    const received = transfer.receive(body.message, 2, { totalSize: 6 });
    for (const letter of 'cdef') body.arrive(bytes(letter));
    body.finish();
    expect(await received).toBe(6);
    expect(sink.bytes.toString()).toBe('abcdef');
  });

  test('beyond the announced size ends the request before a byte of it is passed on', async () => {
    const { sink, transfer, errors } = begin();
    transfer.init({ totalSize: 2 });
    expect(await codeOf(transfer.chunk(0, bytes('abc')))).toBe('connector_failed');
    expect(errors).toMatchObject([{ code: 'connector_failed' }]);
    expect(sink.bytes).toHaveLength(0);
  });

  test('is answered only once the sink has room again, and the connector is not counted silent meanwhile', async () => {
    const { sink, transfer } = begin();
    sink.full = true;
    let answered = false;
    const taken = transfer.chunk(0, bytes('ab')).then(() => {
      answered = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    sink.drain();
    await taken;
  });

  test('is gone once the request has ended', async () => {
    const { sink, transfer, exchange } = begin();
    transfer.init({});
    exchange.fail(new RelayError('cancelled'));
    expect(await codeOf(transfer.chunk(0, bytes('ab')))).toBe('request_gone');
    expect(sink.bytes).toHaveLength(0);
  });
});

describe('a body that is still arriving', () => {
  test('is passed on at once, and waits while the sink is full', async () => {
    const { sink, transfer, exchange } = begin();
    const body = new FakeBody();
    const received = transfer.receive(body.message, 0, { totalSize: 4, etag: '"e"' });
    expect(exchange).toMatchObject({ arriving: 1, state: 'answering' });
    body.arrive(bytes('ab'));
    expect(sink.bytes.toString()).toBe('ab');
    sink.full = true;
    body.arrive(bytes('c'));
    expect(body.paused).toBe(true);
    body.arrive(bytes('d'));
    body.finish();
    expect(sink.bytes.toString()).toBe('abc');
    sink.drain();
    expect(await received).toBe(4);
    expect(sink.bytes.toString()).toBe('abcd');
    expect(exchange.arriving).toBe(0);
    expect(sink.ends).toEqual([]);
  });

  test('gives way to a newer chunk that overlaps it, and no byte of it counts any more', async () => {
    const { sink, transfer, exchange } = begin();
    const first = new FakeBody();
    const cut = codeOf(transfer.receive(first.message, 0, { totalSize: 4 }));
    first.arrive(bytes('ab'));
    const second = new FakeBody();
    const received = transfer.receive(second.message, 1, { totalSize: 4 });
    expect(await cut).toBe('transfer_interrupted');
    first.arrive(bytes('XX'));
    second.arrive(bytes('bcd'));
    second.finish();
    expect(await received).toBe(4);
    expect(sink.bytes.toString()).toBe('abcd');
    expect(exchange).toMatchObject({ arriving: 0, ended: false });
  });

  test('gives way while it waits for the sink as well', async () => {
    const { sink, transfer } = begin();
    const first = new FakeBody();
    const cut = codeOf(transfer.receive(first.message, 0, { totalSize: 4 }));
    sink.full = true;
    first.arrive(bytes('ab'));
    first.arrive(bytes('XX'));
    const taken = transfer.chunk(2, bytes('cd'));
    expect(await cut).toBe('transfer_interrupted');
    sink.drain();
    expect(await taken).toBe(4);
    expect(sink.bytes.toString()).toBe('abcd');
  });

  test('leaves the request as it is when it breaks off with an offset: the rest may come later', async () => {
    const { sink, transfer, errors } = begin();
    const body = new FakeBody();
    const received = codeOf(transfer.receive(body.message, 0, { totalSize: 4 }));
    body.arrive(bytes('ab'));
    body.breakOff();
    expect(await received).toBe('transfer_interrupted');
    expect(errors).toEqual([]);
    await transfer.chunk(2, bytes('cd'));
    transfer.complete(4, undefined);
    expect(sink.ends.map((end) => end.bytes.toString())).toEqual(['abcd']);
  });

  test('ends the request when it breaks off without an offset, since nobody knows what counted', async () => {
    const { transfer, errors } = begin();
    const body = new FakeBody();
    const received = codeOf(transfer.receive(body.message, undefined, { totalSize: 4 }));
    body.arrive(bytes('ab'));
    body.breakOff();
    expect(await received).toBe('connector_failed');
    expect(errors).toMatchObject([{ code: 'connector_failed', retryable: true }]);
  });

  test('ends the request when another without an offset comes at once', async () => {
    const { transfer, errors } = begin();
    const first = codeOf(transfer.receive(new FakeBody().message, undefined, { totalSize: 4 }));
    expect(await codeOf(() => transfer.receive(new FakeBody().message, undefined, {}))).toBe('connector_failed');
    expect(await first).toBe('connector_failed');
    expect(errors).toHaveLength(1);
  });

  test('that says something else than the first ends the request', async () => {
    const { transfer, errors } = begin();
    transfer.init({ totalSize: 4, etag: '"e"' });
    expect(await codeOf(() => transfer.receive(new FakeBody().message, 0, { etag: '"f"' }))).toBe('dataset_changed');
    expect(errors).toMatchObject([{ code: 'dataset_changed' }]);
  });

  test('that is longer than announced ends the request, and is let go', async () => {
    const { sink, transfer, exchange, errors } = begin();
    const body = new FakeBody();
    const received = codeOf(transfer.receive(body.message, 0, { totalSize: 3 }));
    body.arrive(bytes('ab'));
    body.arrive(bytes('cd'));
    expect(await received).toBe('connector_failed');
    body.arrive(bytes('ef'));
    expect(sink.bytes.toString()).toBe('ab');
    expect(errors).toHaveLength(1);
    expect(exchange.arriving).toBe(0);
  });

  test('is let go when the request fails, with its error', async () => {
    const { sink, transfer, exchange } = begin();
    const body = new FakeBody();
    const received = codeOf(transfer.receive(body.message, 0, { totalSize: 4 }));
    exchange.fail(new RelayError('cancelled'));
    expect(await received).toBe('cancelled');
    body.arrive(bytes('ab'));
    expect(sink.bytes).toHaveLength(0);
    expect(exchange.arriving).toBe(0);
  });
});

describe('JSON chunks without offsets', () => {
  test('follow one another', async () => {
    const { sink, transfer } = begin();
    for (const letter of 'abc') await transfer.chunk(undefined, bytes(letter), performance.now());
    transfer.complete(3, undefined);
    expect(sink.ends.map((end) => end.bytes.toString())).toEqual(['abc']);
  });

  test('end the request when two arrived at once, since they have no order', async () => {
    const { transfer, errors } = begin();
    const [first, second] = [performance.now(), performance.now()];
    await transfer.chunk(undefined, bytes('b'), second);
    expect(await codeOf(transfer.chunk(undefined, bytes('a'), first))).toBe('connector_failed');
    expect(errors).toHaveLength(1);
  });

  test('with offsets may arrive at once', async () => {
    const { sink, transfer } = begin();
    const begunAt = performance.now();
    await transfer.chunk(0, bytes('a'), begunAt);
    await transfer.chunk(1, bytes('b'), begunAt);
    expect(sink.bytes.toString()).toBe('ab');
  });
});

describe('complete', () => {
  test('ends the transfer when sizes agree, with its digest, once', async () => {
    const { sink, transfer, exchange } = begin();
    transfer.init({ totalSize: 2 });
    await transfer.chunk(undefined, bytes('ab'));
    expect(sink.ends).toEqual([]);
    expect(transfer.complete(undefined, { digest: 'd' })).toBe(2);
    expect(transfer.complete(2, { digest: 'other' })).toBe(2);
    expect(sink.ends).toEqual([{ digest: 'd', bytes: bytes('ab') }]);
    expect(exchange.state).toBe('succeeded');
  });

  test('that comes before the last bytes is remembered, where the size is known', async () => {
    const { sink, transfer } = begin();
    transfer.init({ totalSize: 4 });
    await transfer.chunk(0, bytes('ab'));
    expect(transfer.complete(4, { digest: 'd' })).toBe(2);
    expect(sink.ends).toEqual([]);
    const body = new FakeBody();
    const receiving = transfer.receive(body.message, 2, {});
    body.arrive(bytes('cd'));
    body.finish();
    expect(await receiving).toBe(4);
    expect(sink.ends).toEqual([{ digest: 'd', bytes: bytes('abcd') }]);
  });

  test('of an empty dataset needs no chunk, and no init', () => {
    const { sink, transfer } = begin();
    transfer.complete(0, undefined);
    expect(sink.begun).toEqual([{ totalSize: 0 }]);
    expect(sink.ends).toHaveLength(1);
  });

  test('needs a size from somewhere', async () => {
    const { transfer, errors } = begin();
    await transfer.chunk(undefined, bytes('ab'));
    expect(await codeOf(() => transfer.complete(undefined, undefined))).toBe('invalid_request');
    expect(errors).toEqual([]);
  });

  test.each([
    ['more than was sent, where no size was announced', undefined, 3],
    ['less than was sent', undefined, 1],
    ['less than was announced', 4, 2],
    ['more than was announced', 2, 3],
  ])('with %s ends the request and not the content', async (_what, totalSize, size) => {
    const { sink, transfer, errors } = begin();
    transfer.init({ totalSize });
    await transfer.chunk(0, bytes('ab'));
    expect(await codeOf(() => transfer.complete(size, undefined))).toBe('connector_failed');
    expect(errors).toMatchObject([{ code: 'connector_failed' }]);
    expect(sink.ends).toEqual([]);
  });
});

describe('a dataset in one piece', () => {
  test('is taken from memory', async () => {
    const { sink, transfer } = begin();
    expect(await transfer.takeWhole(bytes('abc'), { etag: '"e"', digest: 'd' })).toBe(3);
    expect(sink.begun).toEqual([{ totalSize: 3, etag: '"e"', digest: 'd' }]);
    expect(sink.ends).toEqual([{ digest: 'd', bytes: bytes('abc') }]);
  });

  test.each([
    ['in JSON', false, undefined],
    ['with its offset', false, 0],
    ['with its offset, where parts may come at once', true, 0],
  ])('ends with its bytes, not after them: %s', async (_how, isWindowed, offset) => {
    const { sink, transfer } = begin();
    if (isWindowed) transfer.openWindow(new WindowBudget(1024));
    const taken = transfer.takeWhole(bytes('abc'), { totalSize: 3, digest: 'd' }, offset);
    // What is written in one turn leaves in one piece.
    expect(sink.ends).toEqual([{ digest: 'd', bytes: bytes('abc') }]);
    expect(await taken).toBe(3);
  });

  test.each([true, false])(
    'with its offset that is too short ends the request and gives nothing: %p',
    async (isWindowed) => {
      const { sink, transfer, errors } = begin();
      if (isWindowed) transfer.openWindow(new WindowBudget(1024));
      expect(await codeOf(transfer.takeWhole(bytes('abc'), { totalSize: 4 }, 0))).toBe('connector_failed');
      expect(errors).toMatchObject([{ code: 'connector_failed' }]);
      expect(sink.ends).toEqual([]);
      expect(sink.bytes).toHaveLength(0);
    },
  );

  test('with its offset is the rest of what came in chunks', async () => {
    const { sink, transfer, errors } = begin();
    transfer.init({ totalSize: 3 });
    await transfer.chunk(0, bytes('ab'));
    expect(await transfer.takeWhole(bytes('bc'), { digest: 'd' }, 1)).toBe(3);
    expect(errors).toEqual([]);
    expect(sink.ends).toEqual([{ digest: 'd', bytes: bytes('abc') }]);
  });

  test('with its offset may be the first to say how long it is', async () => {
    const { sink, transfer } = begin();
    expect(await transfer.takeWhole(bytes('abc'), {}, 0)).toBe(3);
    expect(sink.ends).toHaveLength(1);
  });

  test.each([3, undefined])('is taken from a body, with its size announced or not: %p', async (totalSize) => {
    const { sink, transfer } = begin();
    const body = new FakeBody();
    const received = transfer.receiveWhole(body.message, { totalSize });
    body.arrive(bytes('ab'));
    body.arrive(bytes('c'));
    expect(sink.ends).toEqual([]);
    body.finish();
    expect(await received).toBe(3);
    expect(sink.ends.map((end) => end.bytes.toString())).toEqual(['abc']);
  });

  test('is empty when its body is', async () => {
    const { sink, transfer } = begin();
    const body = new FakeBody();
    const received = transfer.receiveWhole(body.message, {});
    body.finish();
    expect(await received).toBe(0);
    expect(sink.ends).toHaveLength(1);
  });

  test('ends the request when its body breaks off, or is shorter than announced', async () => {
    for (const end of ['breakOff', 'finish'] as const) {
      const { sink, transfer, errors } = begin();
      const body = new FakeBody();
      const received = codeOf(transfer.receiveWhole(body.message, { totalSize: 3 }));
      body.arrive(bytes('ab'));
      body[end]();
      expect(await received).toBe('connector_failed');
      expect(errors).toHaveLength(1);
      expect(sink.ends).toEqual([]);
    }
  });

  test('goes on in chunks where it named its offset and broke off', async () => {
    const { sink, transfer, errors } = begin();
    const body = new FakeBody();
    const received = codeOf(transfer.receiveWhole(body.message, { totalSize: 3 }, 0));
    body.arrive(bytes('ab'));
    body.breakOff();
    expect(await received).toBe('transfer_interrupted');
    expect(await transfer.chunk(2, bytes('c'))).toBe(3);
    transfer.complete(3, undefined);
    expect(errors).toEqual([]);
    expect(sink.ends.map((end) => end.bytes.toString())).toEqual(['abc']);
  });

  test('in the middle of a chunked answer ends the request', async () => {
    const { transfer, errors } = begin();
    transfer.init({ totalSize: 3 });
    expect(await codeOf(transfer.takeWhole(bytes('abc'), {}))).toBe('connector_failed');
    expect(errors).toHaveLength(1);
    const other = begin();
    other.transfer.init({});
    expect(await codeOf(other.transfer.receiveWhole(new FakeBody().message, {}))).toBe('connector_failed');
  });
});
