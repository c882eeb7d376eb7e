import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { WaitLine } from '../../../../src/cli/app/wait-line.ts';

beforeEach(() => {
  jest.useFakeTimers({ now: 0 });
});
afterEach(() => {
  jest.useRealTimers();
});

function createLine(columns: number): { line: WaitLine; text: () => string } {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns });
  return { line: new WaitLine(stream), text: () => String(stream.read() ?? '') };
}

test('counts down in one line, which is gone afterwards', () => {
  const { line, text } = createLine(80);
  line.show('the connector', 120_000);
  line.show('the connector', 120_000);
  expect(text()).toBe('\r\u001b[2Kwaiting for the connector, 2 min left');
  jest.advanceTimersByTime(1000);
  expect(text()).toBe('\r\u001b[2Kwaiting for the connector, 1 min 59 s left');
  line.clear();
  line.clear();
  expect(text()).toBe('\r\u001b[2K');
  jest.advanceTimersByTime(5000);
  expect([text(), jest.getTimerCount()]).toEqual(['', 0]);
});

test('is never wrapped, since what is could not be taken away', () => {
  const { line, text } = createLine(20);
  line.show('the connector', 120_000);
  expect(text()).toBe('\r\u001b[2Kwaiting for the con');
  line.clear();
});
