/** How many frames a peer may send within how long: many times what heartbeats and events need. */
const MAX_FRAMES = 500;
const WINDOW_MS = 10_000;

/** Counts what comes over a link, where each frame costs the router more than it costs whoever sends it. */
export class FloodGate {
  #count = 0;
  #since = performance.now();

  /** Counts one frame. @returns false when there were too many of late. */
  pass(): boolean {
    const now = performance.now();
    if (now - this.#since >= WINDOW_MS) {
      this.#since = now;
      this.#count = 0;
    }
    return ++this.#count <= MAX_FRAMES;
  }
}
