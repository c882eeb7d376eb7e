import type { Width } from '../../http/width.ts';
import type { RequestContext } from './handler.ts';

/** Measures, until the signal fires, whether what is sent waits in a queue on its way. @throws the signal's reason. */
export async function probe(
  width: Width,
  roundTripMs: number,
  { clock, signal, roundTrips }: Pick<RequestContext, 'clock' | 'signal' | 'roundTrips'>,
): Promise<never> {
  for (let last: Promise<number> | undefined; ; ) {
    await clock.sleep(roundTripMs, signal);
    const measured = roundTrips.measure();
    if (measured === last) continue;
    last = measured;
    // Not waited for: where the link ends, no answer comes.
    measured?.then((ms) => width.noteRoundTrip(ms)).catch(() => {});
  }
}
