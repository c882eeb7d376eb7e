import { RelayError } from '../../protocol/errors.ts';
import type { DatasetFacts } from '../dataset-answer.ts';
import type { Completion, Sink, TransferMeta } from '../sink.ts';
import type { MemorySink } from './memory-sink.ts';
import type { ResponseSink } from './response-sink.ts';

/** When to gather. */
interface Choice {
  readonly gathers: (meta: TransferMeta) => boolean;
  /** How long at most, in ms. */
  readonly gatherMs: number;
}

/**
 * Gathers a dataset in memory or passes it on as it comes, which of the two is chosen when it begins. What takes too long to
 * gather is passed on after all: its line or its node may be slower than anybody knew.
 */
export class EitherSink implements Sink {
  readonly #passing: ResponseSink;
  readonly #gathering: MemorySink;
  readonly #choice: Choice;
  #taken: MemorySink | ResponseSink;
  #meta: TransferMeta = {};
  #timer: NodeJS.Timeout | undefined;
  /** Told of what went wrong when nobody was there to throw it to. */
  onError: (error: RelayError) => void = () => {};

  constructor(passing: ResponseSink, gathering: MemorySink, choice: Choice) {
    this.#passing = passing;
    this.#gathering = gathering;
    this.#choice = choice;
    this.#taken = passing;
  }

  get known(): DatasetFacts {
    return this.#taken.known;
  }

  /** The app was answered without the dataset. */
  get isAnswered(): boolean {
    return this.#taken.isAnswered;
  }

  begin(meta: TransferMeta): void {
    this.#meta = meta;
    this.#taken = this.#choice.gathers(meta) ? this.#gathering : this.#passing;
    this.#taken.begin(meta);
  }

  write(bytes: Buffer): boolean {
    // What comes in one piece ends before a timer could fire.
    if (this.#taken === this.#gathering) this.#timer ??= setTimeout(() => this.#passOn(), this.#choice.gatherMs);
    return this.#taken.write(bytes);
  }

  drained(): Promise<void> {
    return this.#taken.drained();
  }

  end(completion: Completion): void {
    clearTimeout(this.#timer);
    this.#taken.end(completion);
  }

  /** Lets go of what was gathered of a dataset that failed. */
  release(): void {
    clearTimeout(this.#timer);
    this.#gathering.release();
  }

  #passOn(): void {
    const bytes = this.#gathering.takeOut();
    this.#taken = this.#passing;
    try {
      this.#passing.begin(this.#meta);
      this.#passing.write(bytes);
    } catch (error) {
      this.onError(RelayError.from(error));
    }
  }
}
