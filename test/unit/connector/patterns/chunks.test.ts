import { expect, test } from '@jest/globals';
import { sendChunks } from '../../../../src/connector/patterns/chunks.ts';
import type { RequestContext } from '../../../../src/connector/patterns/handler.ts';

/** A router that takes nothing in for so many chunks, each of which it answers after so long. */
function makeRouter(refusals: number, answerMs: number) {
  const time = { now: 0 };
  const sent: number[] = [];
  const context = {
    signal: new AbortController().signal,
    clock: { now: () => time.now },
    passages: { limit: () => Infinity },
    router: {
      url: () => new URL('http://router.test/datasets/stream/chunk'),
      postData: (_path: string, { length }: { length: number }) => {
        sent.push(length);
        time.now += answerMs;
        return Promise.resolve({ kind: 'taken', receipt: { next_offset: sent.length > refusals ? 10 : 0 } });
      },
    },
  } as unknown as RequestContext;
  const send = (): Promise<void> =>
    sendChunks({ dataset: { facts: { size: 10 } } as never, requestId: 'r', start: 0, end: 10 }, context);
  return { send, sent };
}

test('gives up on a router that takes nothing in, and says so at once', async () => {
  const { send, sent } = makeRouter(100, 5);
  await expect(send()).rejects.toMatchObject({ code: 'connector_failed' });
  expect(sent.length).toBeLessThan(10);
});

test('goes on for as long as the router holds its answers back, since the app does not read', async () => {
  const { send, sent } = makeRouter(30, 20_000);
  await send();
  expect(sent).toHaveLength(31);
});
