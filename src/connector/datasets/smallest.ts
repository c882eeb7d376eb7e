/**
 * Keeps the first entries in order of their keys, of however many there are: no more of them are in memory than twice as
 * many as are kept.
 */
export class Smallest<T extends { readonly key: string }> {
  readonly #count: number;
  #entries: T[] = [];
  /** What has this key or a later one is not among the first. */
  #bound: string | undefined;

  /** @param count how many are kept. */
  constructor(count: number) {
    this.#count = count;
  }

  /** Whether an entry with this key could still be among the first. */
  wants(key: string): boolean {
    return this.#bound === undefined || key < this.#bound;
  }

  add(entry: T): void {
    this.#entries.push(entry);
    if (this.#entries.length >= this.#count * 2) this.#cut();
  }

  /** The first ones in order, and whether there were more. */
  take(): { readonly entries: readonly T[]; readonly isCut: boolean } {
    this.#cut();
    return { entries: this.#entries, isCut: this.#bound !== undefined };
  }

  #cut(): void {
    const ordered = this.#entries.toSorted((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
    if (ordered.length > this.#count) this.#bound = ordered[this.#count]?.key;
    this.#entries = ordered.slice(0, this.#count);
  }
}
