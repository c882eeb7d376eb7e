import { LineRate } from '../http/line-rate.ts';
import type { Mac } from '../protocol/mac.ts';
import { RecentMap } from '../recent-map.ts';

/** How many nodes' lines are remembered at least. */
const REMEMBERED_NODES = 10_000;

/** Shorter transfers are mostly their own beginning, in bytes. */
const TELLING_BYTES = 1024 * 1024;

/** Up to which part of its time a stream may have waited for its app, for it to tell how fast its node was. */
const APP_BOUND = 0.1;

/** A transfer that came to its end. */
interface Came {
  readonly bytes: number;
  /** From its first byte to its last, in ms. */
  readonly ms: number;
  /** How long of that the app took no more, in ms. */
  readonly waitedMs?: number;
}

/** How fast datasets come from one node: in streams through the router, and in uploads to the store. */
export interface NodeLine {
  readonly stream: LineRate;
  readonly upload: LineRate;
}

/** How fast the ways from nodes are, as far as transfers have shown that lately. */
export class NodeLines {
  readonly #nodes = new RecentMap<Mac, NodeLine>(REMEMBERED_NODES);

  /** What is known of a node's ways; undefined where nothing large came from it. */
  find(mac: Mac): NodeLine | undefined {
    return this.#nodes.get(mac);
  }

  /** A dataset came from a node whole, by this way. */
  note(mac: Mac, way: keyof NodeLine, { bytes, ms, waitedMs = 0 }: Came): void {
    if (bytes < TELLING_BYTES || waitedMs > APP_BOUND * ms) return;
    let node = this.#nodes.get(mac);
    if (node === undefined) this.#nodes.set(mac, (node = { stream: new LineRate(), upload: new LineRate() }));
    node[way].note({ bytes, ms, madeMs: 0 }, performance.now());
  }
}
