/** How much of bodies is passed on in one turn of the event loop where there are several, in bytes. */
const TURN_BYTES = 256 * 1024;

/**
 * Shares the turns of an event loop among those that pass on bodies. Node.js reads up to 2 MiB from a connection before it
 * looks at the next one, so that among many of them a small request, or a command, waits for tens of milliseconds.
 */
class Turns {
  #sharers = 0;
  #left = TURN_BYTES;
  #waiting: (() => void)[] = [];
  #isTurnWatched = false;

  /** One more passes on a body. */
  join(): void {
    this.#sharers++;
  }

  leave(): void {
    this.#sharers--;
  }

  /**
   * Counts bytes that were passed on.
   * @param onNextTurn called in the next turn where this returns false: this one is used up, and there are others.
   */
  spend(bytes: number, onNextTurn: () => void): boolean {
    if (this.#sharers < 2) return true;
    this.#left -= bytes;
    if (!this.#isTurnWatched) {
      this.#isTurnWatched = true;
      setImmediate(() => this.#begin());
    }
    if (this.#left > 0) return true;
    this.#waiting.push(onNextTurn);
    return false;
  }

  #begin(): void {
    this.#isTurnWatched = false;
    this.#left = TURN_BYTES;
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** Those of this process. */
export const turns = new Turns();
