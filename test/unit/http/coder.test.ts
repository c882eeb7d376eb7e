import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Transform } from 'node:stream';
import { expect, test } from '@jest/globals';
import { createEncoder } from '../../../src/http/coder.ts';

/** The window that a frame of zstd asks its decoder for, as a power of two (RFC 8878 §3.1.1.1.2). */
const windowLogOf = (frame: Buffer): number => 10 + ((frame[5] as number) >> 3);

async function begin(): Promise<{ encoder: Transform; windowLog: number }> {
  const encoder = createEncoder({ coding: 'zstd', effort: 'thorough' });
  encoder.write(randomBytes(1024 * 1024));
  const [frame] = (await once(encoder, 'data')) as [Buffer];
  return { encoder, windowLog: windowLogOf(frame) };
}

test('of many coders at once all but a few take little memory, also to decode what they make', async () => {
  const many = [await begin(), await begin(), await begin(), await begin(), await begin(), await begin()];
  expect(many.map(({ windowLog }) => windowLog)).toEqual([21, 21, 21, 21, 18, 18]);
  for (const { encoder } of many) {
    encoder.destroy();
    await once(encoder, 'close');
  }
  const { encoder, windowLog } = await begin();
  expect(windowLog).toBe(21);
  encoder.destroy();
});
