import { distance } from 'fastest-levenshtein';

/** How many names are offered. */
const MAX_NAMES = 3;

/**
 * Collects those of many names that are nearest to one that is not there. A name counts when few letters differ, case
 * aside, or when it is the same but for the directory.
 */
export class NearestNames {
  readonly #wanted: string;
  readonly #wantedBase: string;
  readonly #maxSteps: number;
  #best: { readonly name: string; readonly steps: number }[] = [];

  constructor(wanted: string) {
    this.#wanted = wanted.toLowerCase();
    this.#wantedBase = baseOf(this.#wanted);
    this.#maxSteps = Math.max(2, Math.floor(this.#wantedBase.length / 3));
  }

  /** Considers one name. */
  add(name: string): void {
    const lower = name.toLowerCase();
    const base = baseOf(lower);
    const steps = Math.min(this.#steps(lower, this.#wanted), 0.5 + this.#steps(base, this.#wantedBase));
    const worst = this.#best.length < MAX_NAMES ? this.#maxSteps + 1 : (this.#best.at(-1)?.steps ?? 0);
    if (steps >= worst) return;
    this.#best = [...this.#best, { name, steps }].toSorted((a, b) => a.steps - b.steps).slice(0, MAX_NAMES);
  }

  /** The nearest ones, the nearest first. */
  get names(): string[] {
    return this.#best.map(({ name }) => name);
  }

  /** Letters that differ; without counting them where the lengths alone are too far apart. */
  #steps(a: string, b: string): number {
    return Math.abs(a.length - b.length) > this.#maxSteps ? Number.POSITIVE_INFINITY : distance(a, b);
  }
}

const baseOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1);
