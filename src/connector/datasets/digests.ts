import { createDigest, finishDigest } from '../../http/digest.ts';
import { RecentMap } from '../../recent-map.ts';
import type { OpenDataset } from './open.ts';
import { readDataset } from './read.ts';

/** How many digests are kept at least. */
const REMEMBERED_DIGESTS = 1024;

/** The digests of datasets, the most recent ones kept for as long as nobody writes to the file. */
export class Digests {
  readonly #known = new RecentMap<string, string>(REMEMBERED_DIGESTS);

  /** The digest where it is known, without reading. */
  find({ contentKey }: OpenDataset): string | undefined {
    return this.#known.get(contentKey);
  }

  /** Keeps a digest that was computed on the way. */
  remember({ contentKey }: OpenDataset, digest: string): void {
    this.#known.set(contentKey, digest);
  }

  /** The digest of the whole, read from disk where it is not known; `onBytes` hears of each piece. @throws {RelayError} dataset_changed, see {@link readDataset}. */
  async compute(dataset: OpenDataset, signal: AbortSignal, onBytes?: (count: number) => void): Promise<string> {
    const known = this.find(dataset);
    if (known !== undefined) return known;
    const hash = createDigest();
    await readDataset(dataset, {
      start: 0,
      end: dataset.facts.size,
      signal,
      write: (piece) => {
        hash.update(piece);
        onBytes?.(piece.length);
      },
    });
    const digest = finishDigest(hash);
    this.remember(dataset, digest);
    return digest;
  }
}
