const LOOKS_PER_PERIOD = 4;

/**
 * Calls `onSilence` whenever `count` has not changed for about `silenceMs`.
 * @returns ends the watch.
 */
export function watchProgress(count: () => number, silenceMs: number, onSilence: () => void): () => void {
  let last = count();
  let quietLooks = 0;
  const timer = setInterval(() => {
    const now = count();
    quietLooks = now === last ? quietLooks + 1 : 0;
    last = now;
    if (quietLooks < LOOKS_PER_PERIOD) return;
    quietLooks = 0;
    onSilence();
  }, silenceMs / LOOKS_PER_PERIOD);
  return () => clearInterval(timer);
}
