import { choosePattern, type Pattern, type PatternChoice, type PatternFacts } from '../protocol/choose-pattern.ts';
import type { ErrorCode, RelayError } from '../protocol/errors.ts';

/** What an app may ask by. Which of them router and node can give shows when it does. */
const APP_PATTERNS: readonly Pattern[] = ['stream', 'offload', 'sync'];

/** What is known of a dataset and the ways to it. */
export type WaysFacts = Partial<Omit<PatternFacts, 'open' | 'failed'>>;

/** A way that came to its end. */
interface Failure {
  readonly pattern: Pattern;
  readonly code: ErrorCode;
  readonly error: RelayError;
}

/**
 * The ways to one dataset, as `choosePattern` has them: which is taken, what has become known of them, and which have failed.
 */
export class Ways {
  /** How often the dataset was asked for, by any of them. */
  asked = 0;
  readonly #onChoice: (choice: PatternChoice) => void;
  #facts: WaysFacts;
  #failed: Failure[] = [];
  #current: Pattern | undefined;

  /** @param onChoice told of each way that is taken, before it is. */
  constructor(facts: WaysFacts = {}, onChoice: (choice: PatternChoice) => void = () => {}) {
    this.#facts = facts;
    this.#onChoice = onChoice;
  }

  /** The way that is taken now. */
  get current(): Pattern {
    return this.#current ?? this.begin();
  }

  /** Begins anew: what failed a while ago may work. What is known stays known. */
  begin(): Pattern {
    this.#failed = [];
    return this.#take(choosePattern({ open: APP_PATTERNS, ...this.#facts })) ?? 'stream';
  }

  /** More has become known. Where nothing has failed yet, another way may be better by that. @returns the one to take. */
  learn(facts: WaysFacts): Pattern {
    this.#facts = { ...this.#facts, ...facts };
    return this.#failed.length === 0 ? this.begin() : this.current;
  }

  /** The way that was taken failed. @returns whether there is another that may help; it is taken. */
  fail(error: RelayError): boolean {
    const failure = { pattern: this.current, code: error.code, error };
    if (!isOfTheWay(failure)) return false;
    this.#failed.push(failure);
    return this.#take(choosePattern({ open: APP_PATTERNS, ...this.#facts, failed: this.#failed })) !== undefined;
  }

  /**
   * What to fail with after an error by which no way was left: where it was the way's own, that of the stream, for which the
   * others were only a replacement.
   */
  explain(error: RelayError): RelayError {
    if (!isOfTheWay({ pattern: this.current, code: error.code })) return error;
    const stream = this.#failed.find(({ pattern }) => pattern === 'stream') ?? this.#failed[0];
    return stream?.error ?? error;
  }

  #take(choice: PatternChoice | undefined): Pattern | undefined {
    if (choice === undefined) return undefined;
    if (choice.pattern !== this.#current) this.#onChoice(choice);
    this.#current = choice.pattern;
    return choice.pattern;
  }
}

/** Whether some other way could help after such a failure. */
const isOfTheWay = ({ pattern, code }: Pick<Failure, 'pattern' | 'code'>): boolean =>
  choosePattern({ open: APP_PATTERNS, failed: [{ pattern, code }] }) !== undefined;
