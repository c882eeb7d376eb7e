import { Pace } from '../../http/pace.ts';
import { systemTimer } from '../../http/timer.ts';
import { RecentMap } from '../../recent-map.ts';
import { type Client, clientKey } from './requests.ts';

/** How many clients are remembered at least: one that asks again soon goes on at the pace that it has. */
const REMEMBERED_CLIENTS = 10_000;

/** How fast each client is sent datasets, all of its transfers together. */
export class Rates {
  readonly #bytesPerSecond: number | undefined;
  readonly #paces = new RecentMap<string, Pace>(REMEMBERED_CLIENTS);

  /** @param bytesPerSecond undefined for as fast as it goes. */
  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** The pace of a client; undefined where there is none to keep. */
  of(client: Client): Pace | undefined {
    if (this.#bytesPerSecond === undefined) return undefined;
    const key = clientKey(client);
    const known = this.#paces.get(key);
    if (known !== undefined) return known;
    const pace = new Pace(this.#bytesPerSecond, systemTimer);
    this.#paces.set(key, pace);
    return pace;
  }
}
