import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import { escapeForTerminal } from '../escape.ts';
import type { Io } from '../io.ts';
import { formatBytes, formatDuration } from './format.ts';

const NAME_WIDTH = 40;

/** A line for each transfer that runs and one for all of them, on a terminal; elsewhere only what is noted. */
export class ManyProgress implements Disposable {
  readonly #bars: MultiBar | undefined;
  readonly #total: SingleBar | undefined;
  readonly #note: (text: string) => void;
  readonly #running = new Map<string, { readonly bar: SingleBar; readonly size: number; received: number }>();
  readonly #startedAt = Date.now();
  #isClosed = false;
  #files = 0;
  #filesDone = 0;
  #bytes = 0;
  #bytesDone = 0;

  /** @param note says a line where there are no bars; they are moved out of its way where there are. */
  constructor(stderr: Io['stderr'], shown: boolean, note: (text: string) => void) {
    this.#note = note;
    if (!shown) return;
    this.#bars = new MultiBar(
      {
        stream: stderr,
        format: '{name} [{bar}] {percentage}%  {done}/{of}',
        barsize: 20,
        clearOnComplete: true,
        hideCursor: false,
        // Signals are heard in one place, which is not here.
        gracefulExit: false,
        emptyOnZero: true,
      },
      Presets.legacy,
    );
    this.#total = this.#bars.create(0, 0, this.#totalWords(), { format: 'total  {files}  {done}/{of}  {rate}' });
  }

  /** One more dataset, of so many bytes. */
  expect(size: number): void {
    this.#files += 1;
    this.#bytes += size;
    this.#draw();
  }

  start(mac: string, dataset: string, size: number): void {
    if (this.#bars === undefined) return;
    const shown = Array.from(escapeForTerminal(dataset));
    const name =
      shown.length > NAME_WIDTH ? `…${shown.slice(1 - NAME_WIDTH).join('')}` : shown.join('').padEnd(NAME_WIDTH);
    const bar = this.#bars.create(Math.max(1, size), 0, { name, done: formatBytes(0), of: formatBytes(size) });
    this.#running.set(`${mac} ${dataset}`, { bar, size, received: 0 });
  }

  update(mac: string, dataset: string, received: number): void {
    const one = this.#running.get(`${mac} ${dataset}`);
    if (one === undefined) return;
    one.received = received;
    one.bar.update(received, { done: formatBytes(received) });
    this.#draw();
  }

  /** Nothing more will happen to it; undefined for a connector that could not be listed. */
  end(mac: string, dataset: string | undefined, size: number): void {
    if (dataset === undefined) return;
    this.#filesDone += 1;
    this.#bytesDone += size;
    const one = this.#running.get(`${mac} ${dataset}`);
    if (one !== undefined) this.#bars?.remove(one.bar);
    this.#running.delete(`${mac} ${dataset}`);
    this.#draw();
  }

  /** Says a line. */
  note(text: string): void {
    if (this.#bars === undefined) this.#note(text);
    else this.#bars.log(`relay: ${escapeForTerminal(text)}\n`);
  }

  /** Takes the lines away. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // What was noted since it was last drawn would be lost.
    this.#bars?.update();
    this.#bars?.stop();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #draw(): void {
    this.#total?.update(0, this.#totalWords());
  }

  #totalWords(): Record<string, string> {
    const done = this.#bytesDone + [...this.#running.values()].reduce((sum, { received }) => sum + received, 0);
    const perSecond = (done * 1000) / Math.max(1, Date.now() - this.#startedAt);
    return {
      files: `${this.#filesDone} of ${this.#files}`,
      done: formatBytes(done),
      of: formatBytes(this.#bytes),
      rate: `${formatBytes(Math.round(perSecond))}/s after ${formatDuration(Date.now() - this.#startedAt)}`,
    };
  }
}
