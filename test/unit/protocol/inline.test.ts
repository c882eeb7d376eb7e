import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  decodeInlineBytes,
  decodeInlineResult,
  encodeInlineHead,
  encodeInlineResult,
} from '../../../src/protocol/inline.ts';

const encoder = new TextEncoder();

function join(...pieces: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

test('a head and any bytes come back as they were', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(), fc.string(), (bytes, offset, words) => {
      const head = { request_id: 'r-1', offset, etag: '"e"', content_type: 'text/csv' };
      const odd = { ...head, unknown: words };
      const decoded = decodeInlineBytes(join(encoder.encode(encodeInlineHead(odd)), bytes));
      if (!decoded.ok || decoded.value.kind !== 'bytes') throw new Error('not decoded');
      expect(decoded.value.head).toEqual(head);
      expect([...decoded.value.bytes]).toEqual([...bytes]);
    }),
  );
});

test('a result comes back as it was', () => {
  const result = { request_id: 'r-1', dataset: { name: 'a', size: 1 } };
  const decoded = decodeInlineResult(encodeInlineResult(result as never));
  expect(decoded).toMatchObject({ ok: true, value: { kind: 'result', result } });
});

test('what is unusable names its request, where that can be read', () => {
  const named = (text: string): string | undefined => {
    const decoded = decodeInlineResult(text);
    return decoded.ok ? 'usable' : decoded.error.details.request_id;
  };
  expect(named('{"result":{"data":7,"request_id":"r-1"}}')).toBe('r-1');
  expect(named('{ "result" : {"request_id": "r-1", "size": NaN}}')).toBe('r-1');
  for (const text of [
    '',
    '{"event":"x","request_id":"r-1"}',
    '{"result":{"data":"{\\"request_id\\":\\"r-1\\"}"',
    '[NaN]',
  ])
    expect(named(text)).toBeUndefined();
  const head = decodeInlineBytes(encoder.encode('{"request_id":"r-1","offset":-1}\nabc'));
  expect(head.ok ? undefined : head.error.details.request_id).toBe('r-1');
});

test('what is neither is refused, and nothing throws', () => {
  for (const text of ['', '{}', '{"event":"draining"}', '{"result":{}}', '{"result":{"request_id":"../x"}}', 'null']) {
    expect(decodeInlineResult(text).ok).toBe(false);
  }
  for (const head of ['', '\n', '{}\n', '{"request_id":"r-1","offset":-1}\n', '{"request_id":"r-1","etag":"W/x"}\n']) {
    expect(decodeInlineBytes(encoder.encode(head)).ok).toBe(false);
  }
  fc.assert(fc.property(fc.uint8Array(), (bytes) => expect(typeof decodeInlineBytes(bytes).ok).toBe('boolean')));
});
