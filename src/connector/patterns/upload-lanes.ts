import { PartLanes } from '../../http/part-lanes.ts';
import { FAR_MS, Width } from '../../http/width.ts';
import type { RequestContext } from './handler.ts';
import { probe } from './probe.ts';

/** How many parts go at once where the router is near. */
const NEAR = 4;

type LanesContext = Pick<RequestContext, 'clock' | 'signal' | 'roundTrips' | 'maxParallel' | 'storeRate'>;

/**
 * Sends the parts of one upload side by side: four at once, or, where the router is far away, as many as rate and delay ask
 * for. The way to the router stands for that to the store, of which nobody can ask how long it is.
 */
export class UploadLanes {
  readonly #context: LanesContext;
  readonly #roundTripMs: number;
  readonly #width: Width | undefined;
  readonly #lanes = new PartLanes(() => this.#width?.value ?? NEAR);

  constructor(context: LanesContext) {
    const { roundTrips, maxParallel, storeRate, clock } = context;
    const now = clock.now();
    this.#context = context;
    this.#roundTripMs = roundTrips.shortestMs ?? 0;
    if (this.#roundTripMs < FAR_MS || maxParallel <= NEAR) return;
    this.#width = new Width({ most: maxParallel, roundTripMs: this.#roundTripMs, rate: storeRate.known(now), now });
  }

  /** The line took a piece of a part. */
  noteSent(bytes: number): void {
    this.#width?.note(bytes, this.#context.clock.now());
    this.#lanes.wake();
  }

  /** Does the job of each part, as {@link PartLanes.run} does. */
  async run(count: number, stop: AbortController, job: (index: number) => Promise<void>): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#context.signal, over.signal]);
    if (this.#width !== undefined) probe(this.#width, this.#roundTripMs, { ...this.#context, signal }).catch(() => {});
    try {
      await this.#lanes.run(count, stop, job);
    } finally {
      over.abort();
    }
  }
}
