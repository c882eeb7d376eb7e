import { expect, test } from '@jest/globals';
import { newTally, tallyBody } from '../../../../src/connector/coding/coded-body.ts';
import { LineRate } from '../../../../src/http/line-rate.ts';

test('a body counts what the line carries beside it, and itself', async () => {
  const line = new LineRate();
  const [slow, quick] = [newTally(), newTally()];
  const free = Promise.withResolvers<void>();
  const body = (length: number) => (send: (piece: Buffer) => Promise<void>) => send(Buffer.alloc(length));
  const sending = tallyBody(body(10), { encoding: undefined, tally: slow, line })(() => free.promise);
  await tallyBody(body(100), { encoding: undefined, tally: quick, line })(() => Promise.resolve());
  free.resolve();
  await sending;
  expect(quick).toMatchObject({ bytes: 100, lineBytes: 100 });
  expect(slow).toMatchObject({ bytes: 10, lineBytes: 110 });
});
