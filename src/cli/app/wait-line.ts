import type { Io } from '../io.ts';
import { formatDuration } from './format.ts';

const TICK_MS = 1000;
/** Back to the start of the line, and away with what is there (ECMA-48 EL). */
const CLEAR = '\r\u001b[2K';

/** One line on a terminal that tells, second by second, what is being waited for and for how long still. */
export class WaitLine {
  readonly #stderr: Io['stderr'];
  #timer: NodeJS.Timeout | undefined;

  constructor(stderr: Io['stderr']) {
    this.#stderr = stderr;
  }

  /** Shows the line until `clear`; a second call changes nothing. */
  show(subject: string, endsAt: number): void {
    if (this.#timer !== undefined) return;
    const draw = (): void => {
      const left = formatDuration(Math.max(0, Math.ceil((endsAt - Date.now()) / 1000) * 1000));
      this.#stderr.write(`${CLEAR}waiting for ${subject}, ${left} left`.slice(0, CLEAR.length + this.#columns));
    };
    this.#timer = setInterval(draw, TICK_MS);
    draw();
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#stderr.write(CLEAR);
  }

  /** A line that were wrapped could not be taken away. */
  get #columns(): number {
    return (this.#stderr.columns ?? 80) - 1;
  }
}
