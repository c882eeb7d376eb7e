import { expect, test } from '@jest/globals';
import { resumableBody } from '../../../src/client/resume.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a body that is cancelled while a read waits is not gone on with', async () => {
  let isAsked = false;
  const first = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(Buffer.from('abc')) });
  const reader = resumableBody(first, {
    size: 10,
    explain: () => {
      isAsked = true;
      return Promise.resolve(undefined);
    },
    reopen: () => Promise.resolve(undefined),
  }).getReader();
  await reader.read();
  const waiting = reader.read();
  await turn();
  await reader.cancel();
  expect((await waiting).done).toBe(true);
  await turn();
  expect(isAsked).toBe(false);
});
