import { isGone } from '../router-client.ts';
import type { RequestContext } from './handler.ts';

const PROGRESS_INTERVAL_MS = 2000;

/** Tells the router every two seconds how far a long answer is, and learns from its answer that nobody waits any more. */
export class Progress {
  readonly #report: () => void;
  readonly #timer: NodeJS.Timeout;
  #bytesDone = 0;
  #isOver = false;

  constructor(requestId: string, totalSize: number, context: RequestContext, stop: AbortController) {
    let isReporting = false;
    this.#report = () => {
      if (isReporting) return;
      isReporting = true;
      const progress = { request_id: requestId, bytes_done: this.#bytesDone, total_size: totalSize };
      context.router
        .postProgress(progress, context.signal)
        .catch((error: unknown) => {
          // A report that arrives after the result finds the request gone too, and must not stop the result.
          if (isGone(error) && !this.#isOver) stop.abort(error);
          else context.logger.debug({ err: error }, 'progress was not reported');
        })
        .finally(() => {
          isReporting = false;
        });
    };
    this.#timer = setInterval(this.#report, PROGRESS_INTERVAL_MS);
    this.#report();
  }

  add(bytes: number): void {
    this.#bytesDone += bytes;
  }

  /** Ends the reports; call it before the result is sent. */
  stop(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
  }
}
