/**
 * A map that forgets what was not used for longest: it keeps the `least` keys that were set or read last, and up to twice as
 * many. All operations take constant time, which a `Map` that gives up its first key again and again does not: it walks
 * past those that are gone.
 */
export class RecentMap<K, V> {
  readonly #least: number;
  #current = new Map<K, V>();
  #previous = new Map<K, V>();

  /** @param least how many keys are kept in any case. */
  constructor(least: number) {
    this.#least = least;
  }

  /** The value of a key, which counts as used. */
  get(key: K): V | undefined {
    const value = this.#current.get(key);
    if (value !== undefined || this.#previous.size === 0) return value;
    const earlier = this.#previous.get(key);
    if (earlier !== undefined) {
      this.#previous.delete(key);
      this.set(key, earlier);
    }
    return earlier;
  }

  set(key: K, value: V): void {
    this.#current.set(key, value);
    if (this.#previous.size > 0) this.#previous.delete(key);
    if (this.#current.size < this.#least) return;
    this.#previous = this.#current;
    this.#current = new Map();
  }

  delete(key: K): void {
    this.#current.delete(key);
    this.#previous.delete(key);
  }

  clear(): void {
    this.#current.clear();
    this.#previous.clear();
  }

  /** All that are kept, in no order. */
  *values(): Generator<V> {
    yield* this.#previous.values();
    yield* this.#current.values();
  }
}
