import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { Capability } from '../../../src/protocol/capabilities.ts';
import type { Command } from '../../../src/protocol/commands.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { Dispatcher } from '../../../src/router/dispatcher.ts';
import { type Exchange, type ExchangeOptions, Posts } from '../../../src/router/exchange.ts';
import { Registry } from '../../../src/router/registry.ts';
import { Transfer } from '../../../src/router/transfer.ts';
import { DATASET, exchangeOptions, FakeBody, FakeLink, FakeSink, logger, MAC, OTHER_MAC } from './fakes.ts';

const RECONNECT_WAIT_MS = 30_000;
/** Longer than any deadline here. */
const LONG_MS = 3_600_000;

let registry: Registry;
let dispatcher: Dispatcher;
let refused: Mac[];

beforeEach(() => {
  jest.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z') });
  registry = new Registry(logger);
  refused = [];
  dispatcher = new Dispatcher({
    registry,
    reconnectWaitMs: RECONNECT_WAIT_MS,
    resumeWaitMs: 45_000,
    logger,
    maxPerConnector: 3,
    onRefused: (mac) => refused.push(mac),
  });
});

afterEach(() => {
  dispatcher.failAll(new RelayError('draining'));
  const left = jest.getTimerCount();
  jest.useRealTimers();
  if (left > 0 || dispatcher.size > 0) throw new Error('something is left of the test');
});

function connect(...capabilities: Capability[]): FakeLink {
  const link = new FakeLink(capabilities);
  registry.connect(link);
  return link;
}

function lose(link: FakeLink): void {
  link.open = false;
  registry.disconnect(link, 'gone');
}

function submit(id: string, overrides: Partial<ExchangeOptions> = {}): { exchange: Exchange; errors: RelayError[] } {
  const options = exchangeOptions(id, overrides);
  return { exchange: dispatcher.submit(options), errors: options.errors };
}

/** An exchange that is answered with bytes. */
function submitTransfer(id: string, overrides: Partial<ExchangeOptions> = {}) {
  const sink = new FakeSink();
  const transfer = new Transfer(sink);
  const errors: RelayError[] = [];
  const { exchange } = submit(id, { answer: { transfer, fail: (error) => errors.push(error) }, ...overrides });
  transfer.attach(exchange);
  return { exchange, transfer, sink, errors };
}

const idsOf = (commands: Command[]): string[] => commands.map(({ request_id }) => request_id);

describe('a command', () => {
  test('goes down the link at once, in the order in which it came', () => {
    const link = connect();
    for (const id of ['a', 'b', 'c']) expect(submit(id).exchange.state).toBe('sent');
    expect(idsOf(link.sent)).toEqual(['a', 'b', 'c']);
    expect(dispatcher.size).toBe(3);
    expect(dispatcher.find('b').link).toBe(link);
  });

  test('beyond what its connector may have is refused, and leaves nothing behind', () => {
    const link = connect();
    const held = ['a', 'b', 'c'].map((id) => submit(id).exchange);
    const { exchange, errors } = submit('d');
    expect([exchange.ended, link.sent.length, refused]).toEqual([true, 3, [MAC]]);
    expect(errors).toMatchObject([{ code: 'overloaded', details: { request_id: 'd', retry_after: 5 } }]);
    expect(dispatcher.findEnded('d')).toBeUndefined();
    expect(() => dispatcher.requireRoom(MAC)).toThrow('3 requests');
    dispatcher.requireRoom(OTHER_MAC);
    held[0]?.succeed();
    expect(submit('e').exchange.state).toBe('sent');
  });

  test('for a MAC never seen fails at once, and asking again is no use', () => {
    const { exchange, errors } = submit('a');
    expect(exchange.ended).toBe(true);
    expect(errors).toMatchObject([
      { code: 'connector_offline', retryable: false, details: { last_seen: null, request_id: 'a' } },
    ]);
  });

  test('for a connector that was seen lately waits for it, and no longer than that', () => {
    lose(connect());
    jest.advanceTimersByTime(10_000);
    const { exchange, errors } = submit('a');
    expect(exchange.state).toBe('waiting');
    jest.advanceTimersByTime(19_999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([
      {
        code: 'connector_offline',
        retryable: true,
        details: { last_seen: '2026-01-01T00:00:00.000Z', retry_after: expect.any(Number) },
      },
    ]);
  });

  test('for a connector that was not seen for long fails at once', () => {
    lose(connect());
    jest.advanceTimersByTime(RECONNECT_WAIT_MS);
    const { errors } = submit('a');
    expect(errors).toMatchObject([{ code: 'connector_offline', retryable: true }]);
  });

  test('that waits is sent when the connector comes, to no other', () => {
    lose(connect());
    const { exchange } = submit('a', { resend: 'with-offset' });
    registry.connect(new FakeLink([], { mac: OTHER_MAC }));
    expect(exchange.state).toBe('waiting');
    const link = connect();
    expect(idsOf(link.sent)).toEqual(['a']);
    expect(exchange).toMatchObject({ state: 'sent', link });
  });

  test('waits when its link is gone and nobody noticed yet', () => {
    const dead = connect();
    dead.open = false;
    const { exchange } = submit('a');
    expect(exchange.state).toBe('waiting');
    expect(idsOf(connect().sent)).toEqual(['a']);
  });

  test('waits while the connector drains, for its successor', () => {
    const old = connect();
    registry.drain(old);
    const { exchange } = submit('a');
    expect(old.sent).toEqual([]);
    expect(exchange.state).toBe('waiting');
    expect(idsOf(connect().sent)).toEqual(['a']);
  });

  test('that cannot be made for this connector fails', () => {
    connect();
    const { errors } = submit('a', {
      command: () => {
        throw new RelayError('not_supported');
      },
    });
    expect(errors).toMatchObject([{ code: 'not_supported' }]);
  });

  test('that is submitted while links change is sent once', () => {
    connect();
    const inner: Exchange[] = [];
    submit('a', {
      resend: 'with-offset',
      answer: { fail: () => inner.push(submit('b').exchange) },
    });
    submit('c');
    const fresh = connect();
    expect(inner).toHaveLength(1);
    expect(idsOf(fresh.sent)).toEqual(['b', 'c']);
  });
});

describe('a command that takes time to make', () => {
  const slow = () => {
    const made: { resolve: (command: Command) => void; reject: (error: Error) => void }[] = [];
    const command = (): Promise<Command> =>
      new Promise((resolve, reject) => {
        made.push({ resolve, reject });
      });
    return { made, command };
  };
  const COMMAND: Command = { command: 'get_dataset_stream', request_id: 'a', dataset_name: DATASET };
  const settled = (): Promise<unknown> => jest.advanceTimersByTimeAsync(0);

  test('is sent once it is made', async () => {
    const link = connect();
    const { made, command } = slow();
    submit('a', { command });
    expect(link.sent).toEqual([]);
    made[0]?.resolve(COMMAND);
    await settled();
    expect(link.sent).toEqual([COMMAND]);
  });

  test('is not sent when its request has ended meanwhile', async () => {
    const link = connect();
    const { made, command } = slow();
    const { exchange } = submit('a', { command });
    exchange.fail(new RelayError('cancelled'));
    made[0]?.resolve(COMMAND);
    await settled();
    expect(link.sent).toEqual([]);
  });

  test('goes down the newest link only, whatever becomes of the first attempt', async () => {
    const old = connect();
    const { made, command } = slow();
    const { exchange, errors } = submit('a', { command });
    const fresh = connect();
    expect(made).toHaveLength(2);
    made[0]?.reject(new Error('the store was not there'));
    made[1]?.resolve(COMMAND);
    await settled();
    expect(old.sent).toEqual([]);
    expect(fresh.sent).toEqual([COMMAND]);
    expect(errors).toEqual([]);
    expect(exchange.state).toBe('sent');
  });

  test('fails its request when it cannot be made', async () => {
    connect();
    const { made, command } = slow();
    const { errors } = submit('a', { command });
    made[0]?.reject(new RelayError('store_unavailable'));
    await settled();
    expect(errors).toMatchObject([{ code: 'store_unavailable' }]);
  });
});

describe('a command that was written to a link that is gone', () => {
  test('is sent again after a reconnect, where its answer may begin anew', () => {
    const old = connect();
    const { exchange } = submit('a', { resend: 'always' });
    lose(old);
    jest.advanceTimersByTime(RECONNECT_WAIT_MS - 1);
    const fresh = connect();
    expect(idsOf(fresh.sent)).toEqual(['a']);
    expect(exchange).toMatchObject({ state: 'sent', link: fresh });
  });

  test('is sent again to who said offset', () => {
    connect('offset');
    submit('a', { resend: 'with-offset' });
    expect(idsOf(connect('offset').sent)).toEqual(['a']);
  });

  test('is lost otherwise, and asking again may help', () => {
    connect();
    const { errors } = submit('a', { resend: 'with-offset' });
    const fresh = connect();
    expect(fresh.sent).toEqual([]);
    expect(errors).toMatchObject([{ code: 'connector_failed', retryable: true }]);
  });

  test('has the whole time to be answered, counted from when it was sent again', () => {
    connect();
    const { errors } = submit('a');
    jest.advanceTimersByTime(900);
    connect();
    jest.advanceTimersByTime(999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'request_timeout' }]);
  });

  test('waits no longer because the clock was set back by a day', () => {
    lose(connect());
    jest.setSystemTime(Date.now() - 86_400_000);
    const { errors } = submit('a');
    jest.advanceTimersByTime(RECONNECT_WAIT_MS);
    expect(errors).toMatchObject([{ code: 'connector_offline' }]);
  });

  test('fails as offline when nobody comes back', () => {
    const link = connect();
    const { errors } = submit('a');
    lose(link);
    jest.advanceTimersByTime(RECONNECT_WAIT_MS - 1);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'connector_offline', details: { last_seen: expect.any(String) } }]);
  });
});

describe('an answer that has begun', () => {
  test('is not asked for again, and goes on by itself after the loss of the link', () => {
    const link = connect('offset');
    const { exchange, transfer, sink, errors } = submitTransfer('a');
    const body = new FakeBody();
    void transfer.receive(body.message, 0, { totalSize: 2 });
    lose(link);
    for (let n = 0; n < 5; n++) {
      jest.advanceTimersByTime(2900);
      exchange.touch();
    }
    expect(connect('offset').sent).toEqual([]);
    body.arrive(Buffer.from('ab'));
    body.finish();
    transfer.complete(2, undefined);
    expect(sink.ends).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  test('is given up a little after its link is gone and nothing arrives', () => {
    const link = connect();
    const { transfer, errors } = submitTransfer('a', { silenceTimeoutMs: () => LONG_MS });
    transfer.init({ totalSize: 2 });
    lose(link);
    jest.advanceTimersByTime(4999);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'connector_failed', retryable: true }]);
  });

  test('has its ordinary time again once its connector shows itself', async () => {
    const link = connect();
    const { transfer, errors } = submitTransfer('a', { silenceTimeoutMs: () => LONG_MS });
    transfer.init({ totalSize: 2 });
    lose(link);
    jest.advanceTimersByTime(4000);
    await transfer.chunk(0, Buffer.from('a'));
    jest.advanceTimersByTime(LONG_MS - 1);
    expect(errors).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(errors).toMatchObject([{ code: 'request_timeout' }]);
  });

  test('is given up soon when its body breaks off after the link did', async () => {
    const link = connect('offset');
    const { exchange, transfer, errors } = submitTransfer('a', { silenceTimeoutMs: () => LONG_MS });
    const body = new FakeBody();
    const received = transfer.receive(body.message, 0, { totalSize: 2 });
    lose(link);
    jest.advanceTimersByTime(60_000);
    body.breakOff();
    await expect(received).rejects.toMatchObject({ code: 'transfer_interrupted' });
    dispatcher.bodyBroke(exchange);
    jest.advanceTimersByTime(5000);
    expect(errors).toMatchObject([{ code: 'connector_failed' }]);
  });

  test('has its ordinary time when only its body breaks off', async () => {
    connect('offset');
    const { exchange, transfer, errors } = submitTransfer('a', { silenceTimeoutMs: () => 60_000 });
    const body = new FakeBody();
    const received = transfer.receive(body.message, 0, { totalSize: 2 });
    body.breakOff();
    await expect(received).rejects.toMatchObject({ code: 'transfer_interrupted' });
    dispatcher.bodyBroke(exchange);
    jest.advanceTimersByTime(59_999);
    expect(errors).toEqual([]);
  });

  test('without bytes of its own, such as an upload to a store, outlives its link', () => {
    const link = connect();
    const { exchange, errors } = submit('a', { silenceTimeoutMs: () => LONG_MS });
    exchange.touch();
    lose(link);
    jest.advanceTimersByTime(LONG_MS - 1);
    expect(errors).toEqual([]);
  });

  test('without bytes of its own begins anew where its connector was started again', () => {
    const link = new FakeLink([], { instance: 'first' });
    registry.connect(link);
    const { exchange, errors } = submit('a', { silenceTimeoutMs: () => LONG_MS });
    exchange.touch();
    lose(link);
    const again = new FakeLink([], { instance: 'first' });
    registry.connect(again);
    expect(again.sent).toEqual([]);
    lose(again);
    const successor = new FakeLink([], { instance: 'second' });
    registry.connect(successor);
    expect(idsOf(successor.sent)).toEqual(['a']);
    expect(errors).toEqual([]);
  });
});

describe('cancelling', () => {
  const CANCEL: Command = { command: 'cancel', request_id: 'a' };

  test('tells a connector that said it understands', () => {
    const link = connect('cancel');
    submit('a').exchange.fail(new RelayError('cancelled'));
    expect(link.sent.at(-1)).toEqual(CANCEL);
  });

  test('tells nobody else', () => {
    const link = connect();
    submit('a').exchange.fail(new RelayError('cancelled'));
    expect(link.sent).toHaveLength(1);
  });

  test.each([
    ['succeeded', (exchange: Exchange) => exchange.succeed()],
    [
      'was failed by the connector itself',
      (exchange: Exchange) => exchange.failByConnector(new RelayError('draining')),
    ],
  ])('is not said of what %s', (_what, end) => {
    const link = connect('cancel');
    end(submit('a').exchange);
    expect(link.sent).toHaveLength(1);
  });

  test('is said down the link that there is now', () => {
    const old = connect('cancel');
    const { exchange } = submit('a');
    exchange.touch();
    const fresh = connect('cancel');
    exchange.fail(new RelayError('cancelled'));
    expect(old.sent).not.toContainEqual(CANCEL);
    expect(fresh.sent).toEqual([CANCEL]);
  });

  test('is said to a connector that drains', () => {
    const link = connect('cancel');
    const { exchange } = submit('a');
    registry.drain(link);
    exchange.fail(new RelayError('cancelled'));
    expect(link.sent.at(-1)).toEqual(CANCEL);
  });

  test('is not said of what was never sent', () => {
    const link = connect('cancel');
    registry.drain(link);
    submit('a').exchange.fail(new RelayError('cancelled'));
    expect(link.sent).toEqual([]);
  });
});

describe('what has ended', () => {
  test('is gone, or cancelled, to a connector that still answers it', () => {
    connect();
    submit('a').exchange.succeed();
    submit('b').exchange.fail(new RelayError('cancelled', 'the app went away'));
    submit('c').exchange.fail(new RelayError('overloaded'));
    expect(() => dispatcher.find('a')).toThrow(expect.objectContaining({ code: 'request_gone' }));
    expect(() => dispatcher.find('b')).toThrow(expect.objectContaining({ code: 'cancelled' }));
    expect(() => dispatcher.find('c')).toThrow(expect.objectContaining({ code: 'request_gone' }));
    expect(() => dispatcher.find('x')).toThrow(
      expect.objectContaining({ code: 'request_gone', retryable: false, details: { request_id: 'x' } }),
    );
  });

  test('keeps its receipts, those too that come after the end, and nothing of what it held for its answer', () => {
    connect();
    const { exchange } = submit('a');
    const { receipts } = (exchange.posts = new Posts());
    receipts.set('init', { request_id: 'a', next_offset: 0 });
    exchange.succeed();
    receipts.set('complete', { request_id: 'a', next_offset: 5 });
    const ended = dispatcher.findEnded('a');
    expect(ended?.posts?.receipts.get('init')).toEqual({ request_id: 'a', next_offset: 0 });
    expect(ended?.posts?.receipts.get('complete')).toEqual({ request_id: 'a', next_offset: 5 });
    expect(Object.keys(ended ?? {}).toSorted()).toEqual(['askedBy', 'error', 'isExpected', 'mac', 'posts']);
  });

  test('is remembered for the last 10,000 only', () => {
    connect();
    for (let n = 0; n < 30_000; n++) submit(`n${n}`).exchange.succeed();
    // The others go in one piece, so that there may be more for a while.
    expect(dispatcher.findEnded('n9999')).toBeUndefined();
    expect(dispatcher.findEnded('n20000')).toBeDefined();
    expect(dispatcher.findEnded('n29999')).toBeDefined();
    expect(dispatcher.size).toBe(0);
  });
});

describe('the end of a router', () => {
  test('fails all that is under way', () => {
    connect();
    const running = ['a', 'b', 'c'].map((id) => submit(id));
    expect(dispatcher.isBusy(MAC)).toBe(true);
    running[0]?.exchange.succeed();
    dispatcher.failAll(new RelayError('draining'));
    expect(running.map(({ errors }) => errors.map(({ code }) => code))).toEqual([[], ['draining'], ['draining']]);
    expect([dispatcher.isBusy(MAC), dispatcher.size]).toEqual([false, 0]);
  });

  test('is begun by failing what waits for a link, now and from then on, but not what is being answered', () => {
    const link = connect();
    const sent = submit('sent');
    const answering = submit('answering');
    answering.exchange.markAnswering();
    answering.exchange.arriving++;
    const other = new FakeLink([], { mac: OTHER_MAC });
    registry.connect(other);
    lose(other);
    const waiting = submit('waiting', { mac: OTHER_MAC });
    dispatcher.drain(new RelayError('draining'));
    expect([sent.errors, answering.errors, waiting.errors.map(({ code }) => code)]).toEqual([[], [], ['draining']]);
    lose(link);
    expect([sent.errors.map(({ code }) => code), answering.errors]).toEqual([['draining'], []]);
    expect(submit('late').errors).toMatchObject([{ code: 'draining' }]);
  });

  test('fails what waits for its connector as well', () => {
    lose(connect());
    const { errors } = submit('a', { mac: MAC });
    dispatcher.failAll(new RelayError('draining'));
    expect(errors).toMatchObject([{ code: 'draining' }]);
  });
});
