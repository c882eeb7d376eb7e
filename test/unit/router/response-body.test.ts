import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from '@jest/globals';
import { LineRate } from '../../../src/http/line-rate.ts';
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
