import { describe, expect, test } from '@jest/globals';
import { Arrivals } from '../../../src/connector/arrivals.ts';

const WAIT_MS = 20;

/** Arrivals with one link, and what was missed. */
function begin(): { arrivals: Arrivals; missed: string[]; links: (object | undefined)[]; pass: () => Promise<void> } {
  const links: (object | undefined)[] = [{}];
  const missed: string[] = [];
  const arrivals = new Arrivals({ waitMs: WAIT_MS, findLink: () => links.at(-1) });
  // Timers of one length fire in the order in which they were set.
  const pass = (): Promise<void> =>
    new Promise((resolve) => {
      setTimeout(resolve, WAIT_MS);
    });
  return { arrivals, missed, links, pass };
}

describe('waiting for the router to say that a body arrives', () => {
  test('ends when it does not', async () => {
    const { arrivals, missed, pass } = begin();
    arrivals.watch('a', () => missed.push('a')).start();
    expect(missed).toEqual([]);
    await pass();
    expect(missed).toEqual(['a']);
  });

  test('is over once it was said, for this request, or once it matters no more', async () => {
    const { arrivals, missed, pass } = begin();
    const watches = ['said', 'stopped', 'silent'].map((id) => arrivals.watch(id, () => missed.push(id)));
    for (const watch of watches) watch.start();
    arrivals.note('said');
    arrivals.note('unheard-of');
    watches[1]?.stop();
    // A body that is sent anew on another connection was heard of before.
    watches[0]?.start();
    await pass();
    expect(missed).toEqual(['silent']);
  });

  test('begins when the first byte leaves, and anew with each attempt', async () => {
    const { arrivals, missed, pass } = begin();
    const watch = arrivals.watch('a', () => missed.push('a'));
    await pass();
    watch.start();
    watch.start();
    await pass();
    expect(missed).toEqual(['a']);
  });

  test('does not count without a link, or across two', async () => {
    const { arrivals, missed, links, pass } = begin();
    const watch = arrivals.watch('a', () => missed.push('a'));
    watch.start();
    links.push(undefined);
    await pass();
    links.push({});
    await pass();
    expect(missed).toEqual([]);
    await pass();
    expect(missed).toEqual(['a']);
  });
});
