import { LineRate, Passage } from '../http/line-rate.ts';
import type { Mac } from '../protocol/mac.ts';
import { RecentMap } from '../recent-map.ts';

/** How many nodes' lines are remembered at least. */
const REMEMBERED_NODES = 10_000;

/** Shorter transfers are mostly their own beginning, in bytes. */
const TELLING_BYTES = 1024 * 1024;

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

  /** Follows a transfer of so many bytes as far as is known; undefined where it is too short to tell anything. */
  follow(mac: Mac, way: keyof NodeLine, bytes: number | undefined): Passage | undefined {
    if (bytes !== undefined && bytes < TELLING_BYTES) return undefined;
    let node = this.#nodes.get(mac);
    if (node === undefined) this.#nodes.set(mac, (node = { stream: new LineRate(), upload: new LineRate() }));
    return new Passage(node[way], TELLING_BYTES);
  }
}
