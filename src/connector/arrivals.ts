interface ArrivalsOptions {
  /** How long the router may take to say that a body arrives, in ms. */
  readonly waitMs: number;
  /** The link by which it would; undefined while there is none. */
  readonly findLink: () => object | undefined;
}

/** One body whose arrival is waited for. */
interface Watch {
  /** The first byte is about to leave; again where it is sent anew. */
  start(): void;
  /** It matters no more. */
  stop(): void;
}

/** What the router says of bodies that begin to arrive. What it does not say shows that something holds them back. */
export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #waiting = new Map<string, Watch>();

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** The router said that a body of this request arrives. */
  note(requestId: string): void {
    this.#waiting.get(requestId)?.stop();
  }

  /**
   * Watches for the body of a request; there is one at a time.
   * @param onMissing called when the router had a link all the time and said nothing.
   */
  watch(requestId: string, onMissing: () => void): Watch {
    const { waitMs, findLink } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    let link: object | undefined;
    let isOver = false;
    const look = (): void => {
      const current = findLink();
      if (current !== undefined && current === link) onMissing();
      else start();
    };
    // Without a link nothing can be heard, and a new one is told anew.
    const start = (): void => {
      if (isOver) return;
      clearTimeout(timer);
      link = findLink();
      timer = setTimeout(look, waitMs);
    };
    const watch: Watch = {
      start,
      stop: () => {
        isOver = true;
        clearTimeout(timer);
        if (this.#waiting.get(requestId) === watch) this.#waiting.delete(requestId);
      },
    };
    this.#waiting.set(requestId, watch);
    return watch;
  }
}
