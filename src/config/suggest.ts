import { distance } from 'fastest-levenshtein';

/** The one of `candidates` that `word` was probably meant to be, if any is near enough. */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  let best: { candidate: string; steps: number } | undefined;
  for (const candidate of candidates) {
    const steps = distance(word, candidate);
    if (best === undefined || steps < best.steps) best = { candidate, steps };
  }
  return best && best.steps <= Math.max(2, Math.floor(word.length / 3)) ? best.candidate : undefined;
}
