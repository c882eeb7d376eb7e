import { expect, test } from '@jest/globals';
import { Memory } from '../../../src/router/memory.ts';
import { WindowBudget } from '../../../src/router/window.ts';

const GIB = 1024 ** 3;

test.each([
  ['neither is much used', 0, 0.5, false],
  ['parts ahead of their turn take four fifths of theirs', 800, 0.5, true],
  ['they take a little less', 799, 0.5, false],
  ['the process takes four fifths of its own', 0, 0.8, true],
])('memory, where %s', (_, windowUsed, processShare, isShort) => {
  const window = new WindowBudget(1000);
  window.used = windowUsed;
  const memory = new Memory({ window, used: () => processShare * GIB, limit: () => GIB });
  expect(memory.isShort).toBe(isShort);
});

test('a router without such parts is not short of room for them', () => {
  expect(new Memory({ window: new WindowBudget(0), used: () => 0, limit: () => GIB }).isShort).toBe(false);
});

test('by itself it looks at this process and this machine', () => {
  expect(new Memory({ window: new WindowBudget(1000) }).isShort).toBe(false);
});
