import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { pino } from 'pino';
import type { RelayError } from '../../../../src/protocol/errors.ts';
import { FloodGate } from '../../../../src/router/links/flood-gate.ts';
import { ConnectionLimits } from '../../../../src/router/limits/connections.ts';
import { LinkLimits } from '../../../../src/router/limits/links.ts';
import { Refusals } from '../../../../src/router/limits/refusals.ts';
import { RequestLimits } from '../../../../src/router/limits/requests.ts';
import { LIMITS } from '../../../support/router.ts';
import { logger, MAC, OTHER_MAC } from '../fakes.ts';

let counted: string[];
let refusals: Refusals;
beforeEach(() => {
  jest.useFakeTimers();
  counted = [];
  refusals = new Refusals(logger, (reason) => counted.push(reason));
});
afterEach(() => {
  jest.useRealTimers();
});

/** The code of what a call throws. */
function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as RelayError).code;
  }
}

describe('requests', () => {
  const make = (): RequestLimits => new RequestLimits({ ...LIMITS, maxRequests: 3, maxRequestsPerClient: 2 }, refusals);
  const ada = { tokenId: 'ada', address: '192.0.2.1' };
  const bob = { tokenId: 'bob', address: '192.0.2.1' };

  test('of one token are not those of another, whatever address they come from', () => {
    const limits = make();
    limits.admit('app', ada).hold();
    const letGo = limits.admit('app', ada).hold();
    expect(codeOf(() => limits.admit('app', { ...ada, address: '192.0.2.9' }))).toBe('too_many_requests');
    limits.admit('app', bob).hold();
    expect(codeOf(() => limits.admit('app', bob))).toBe('overloaded');
    letGo();
    letGo();
    expect(limits.count('app')).toBe(2);
    limits.admit('app', ada).hold();
    expect(counted).toEqual(['requests_per_client', 'requests']);
  });

  test('of connectors have places of their own', () => {
    const limits = make();
    for (const client of [ada, ada, bob]) limits.admit('app', client).hold();
    for (let count = 0; count < 12; count++) limits.admit('connector', undefined).hold();
    expect(codeOf(() => limits.admit('connector', undefined))).toBe('overloaded');
    expect(counted).toEqual(['posts']);
  });

  test('are held until the last who holds one lets go', () => {
    const limits = make();
    const slot = limits.admit('app', ada);
    const [first, second] = [slot.hold(), slot.hold()];
    first();
    expect(limits.count('app')).toBe(1);
    second();
    expect(limits.count('app')).toBe(0);
    // Too late to hold what is free.
    slot.hold()();
    expect(limits.count('app')).toBe(0);
  });
});

describe('connections', () => {
  class FakeSocket extends EventEmitter {
    readonly remoteAddress: string;
    end: 'destroyed' | 'reset' | undefined;
    constructor(remoteAddress: string) {
      super();
      this.remoteAddress = remoteAddress;
    }
    destroy(): void {
      this.end = 'destroyed';
      this.emit('close');
    }
    resetAndDestroy(): void {
      this.end = 'reset';
      this.emit('close');
    }
  }
  const open = (limits: ConnectionLimits, address: string): FakeSocket => {
    const socket = new FakeSocket(address);
    limits.add(socket as unknown as Socket);
    return socket;
  };
  const check = (limits: ConnectionLimits, socket: FakeSocket): string | undefined =>
    codeOf(() => limits.check(socket as unknown as Socket));

  test('of an IPv6 network count as those of one address', () => {
    const limits = new ConnectionLimits({ ...LIMITS, maxConnectionsPerAddress: 2 }, refusals, () => false);
    const first = open(limits, '2001:db8:1:2::1');
    open(limits, '2001:db8:1:2::2');
    expect(check(limits, open(limits, '2001:db8:1:2:ffff::3'))).toBe('too_many_requests');
    expect(check(limits, open(limits, '2001:db8:1:3::1'))).toBeUndefined();
    first.destroy();
    expect(check(limits, open(limits, '2001:db8:1:2::4'))).toBeUndefined();
    expect(limits.open).toBe(3);
  });

  test('of a trusted proxy are not counted as those of one address', () => {
    const isProxy = (address: string): boolean => address === '192.0.2.9';
    const limits = new ConnectionLimits({ ...LIMITS, maxConnectionsPerAddress: 1 }, refusals, isProxy);
    for (const _ of [1, 2, 3]) expect(check(limits, open(limits, '192.0.2.9'))).toBeUndefined();
    open(limits, '192.0.2.1');
    expect(check(limits, open(limits, '192.0.2.1'))).toBe('too_many_requests');
  });

  test('beyond the limit are told so for a while, as long as there are few of them', () => {
    const limits = new ConnectionLimits({ ...LIMITS, maxConnections: 1 }, refusals, () => false);
    open(limits, '192.0.2.1');
    const told = Array.from({ length: 100 }, () => open(limits, '192.0.2.2'));
    expect(open(limits, '192.0.2.2').end).toBe('reset');
    expect(told.map((socket) => check(limits, socket))).toEqual(told.map(() => 'overloaded'));
    jest.advanceTimersByTime(5000);
    expect(told.map(({ end }) => end)).toEqual(told.map(() => 'destroyed'));
    expect([limits.open, jest.getTimerCount()]).toEqual([1, 0]);
    expect(open(limits, '192.0.2.2').end).toBeUndefined();
  });
});

test('a link is opened two hundred times in a row, and then twice a second', () => {
  const limits = new LinkLimits(refusals);
  const admit = (mac = MAC): string | undefined => codeOf(() => limits.admit(mac, '192.0.2.1'));
  for (let count = 0; count < 200; count++) expect(admit()).toBeUndefined();
  expect([admit(), admit(), admit(OTHER_MAC)]).toEqual(['too_many_requests', 'too_many_requests', undefined]);
  // What was refused does not put it off.
  jest.advanceTimersByTime(500);
  expect([admit(), admit()]).toEqual([undefined, 'too_many_requests']);
});

test('frames pass while they are few, and again after a while', () => {
  const gate = new FloodGate();
  for (let count = 0; count < 500; count++) expect(gate.pass()).toBe(true);
  expect(gate.pass()).toBe(false);
  jest.advanceTimersByTime(10_000);
  expect(gate.pass()).toBe(true);
});

test('a refusal is always counted, and logged at most once in ten seconds for each reason', () => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const noisy = new Refusals(log, (reason) => counted.push(reason));
  for (let count = 0; count < 1000; count++) noisy.note('requests', { remote: '192.0.2.1' });
  noisy.note('body_timeout');
  jest.advanceTimersByTime(10_000);
  noisy.note('requests', { remote: '192.0.2.2' });
  expect(counted).toHaveLength(1002);
  expect(lines).toMatchObject([
    { reason: 'requests', remote: '192.0.2.1', msg: expect.stringContaining('--max-requests') },
    { reason: 'body_timeout' },
    { reason: 'requests', remote: '192.0.2.2', and_before: 999 },
  ]);
});
