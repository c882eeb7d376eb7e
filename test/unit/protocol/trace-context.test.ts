import { describe, expect, test } from '@jest/globals';
import { decodeIncoming } from '../../../src/protocol/commands.ts';
import { parseTraceparent, traceIdOf } from '../../../src/protocol/trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const VALID = `00-${TRACE}-${PARENT}-01`;

describe('a traceparent', () => {
  test('is taken as it is', () => {
    const parsed = parseTraceparent(VALID);
    expect(parsed).toBe(VALID);
    expect(parsed && traceIdOf(parsed)).toBe(TRACE);
  });

  test.each([
    [`01-${TRACE}-${PARENT}-01`, VALID],
    [`cc-${TRACE}-${PARENT}-03-what-the-future-brings`, VALID],
    [`cc-${TRACE}-${PARENT}-02`, `00-${TRACE}-${PARENT}-00`],
  ])('of a later version is said in this one: %s', (text, expected) => {
    expect(parseTraceparent(text)).toBe(expected);
  });

  test.each([
    [undefined],
    [null],
    [''],
    ['nonsense'],
    [VALID.toUpperCase()],
    [`${VALID}-more`],
    [`${VALID}\n`],
    [`ff-${TRACE}-${PARENT}-01`],
    [`00-${'0'.repeat(32)}-${PARENT}-01`],
    [`00-${TRACE}-${'0'.repeat(16)}-01`],
    [`cc-${TRACE}-${PARENT}-01x`],
    [`cc-${TRACE}-${PARENT}-01-${'x'.repeat(1000)}`],
  ])('is not: %j', (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  test.each([
    [VALID, VALID],
    ['nonsense', undefined],
    [5, undefined],
  ])('in a command does not make it malformed: %j', (traceparent, expected) => {
    const text = JSON.stringify({ command: 'stat', request_id: 'r', dataset_name: 'a', traceparent });
    const decoded = decodeIncoming(text);
    expect(decoded).toMatchObject({ ok: true, value: { kind: 'command', command: { dataset_name: 'a' } } });
    expect(JSON.stringify(decoded)).toEqual(
      expected === undefined ? expect.not.stringContaining('traceparent') : expect.stringContaining(expected),
    );
  });
});
