import type { OffloadProgress, PartsGrant, PartsRequest, Receipt, Result } from '../protocol/answers.ts';
import type { Command, CommandName } from '../protocol/commands.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Mac } from '../protocol/mac.ts';
import type { Traceparent } from '../protocol/trace-context.ts';
import type { Grant } from './access/grant.ts';
import { fitFailure } from './failures.ts';
import type { Link } from './links/link.ts';
import type { Transfer } from './transfer.ts';

/** What a pattern does with the answer to its command. A method that is missing is an answer that the command has no use for. */
export interface Answer {
  /** The bytes of a dataset, in one result or in chunks. */
  readonly transfer?: Transfer;
  /** A JSON result that is no failure. Called once. Throws what is wrong with it. */
  takeResult?(result: Result): void | Promise<void>;
  grantParts?(request: PartsRequest): Promise<PartsGrant>;
  takeProgress?(progress: OffloadProgress): void;
  /** The exchange ended without an answer; called at most once, and never after it succeeded. */
  fail(error: RelayError): void;
}

export interface ExchangeOptions {
  readonly id: string;
  readonly mac: Mac;
  readonly name: CommandName;
  /** The trace of the request that it is for; by default the one that it is submitted in. */
  readonly traceparent?: Traceparent | undefined;
  /** Makes the command for the link that it will leave by. */
  readonly command: (link: Link) => Command | Promise<Command>;
  readonly answer: Answer;
  /** Whether a command that was written may be written again to a newer link: its answer then begins anew. */
  readonly resend: 'always' | 'with-offset';
  /** How long the connector may take to begin, in ms. */
  readonly beginTimeoutMs: (link: Link) => number;
  /** How long it may be silent after that, in ms. */
  readonly silenceTimeoutMs: (link: Link) => number;
}

/** Whom an exchange tells of what befalls it. */
export interface ExchangeOwner {
  /** It is over. */
  ended(exchange: Exchange): void;
  /** Its answer has stood still for too long. @returns whether there is another way, so that it need not fail. */
  fellSilent(exchange: Exchange): boolean;
}

/** The POSTs of one exchange, by their kind. */
export class Posts {
  /** The first reply to each, for when it is sent again. */
  readonly receipts = new Map<string, Receipt>();
  /** Those that are being taken in: one sent again meanwhile waits for the first. */
  readonly underWay = new Map<string, Promise<number | undefined>>();
}

const NOBODY: ReadonlyMap<string, Grant> = new Map();

/** How much of a body is one sign of life: less in a whole silence timeout is none, so that no trickle goes on for ever. */
const SIGN_OF_LIFE_BYTES = 1024;

/** `waiting` for a link, `sent` down one, `answering`, or over. */
export type ExchangeState = 'waiting' | 'sent' | 'answering' | 'succeeded' | 'failed';

/**
 * One command to one connector and what comes back for it. It ends exactly once. Its clock runs while it is the
 * connector's turn, and stands still while the app does not read.
 */
export class Exchange {
  readonly id: string;
  readonly mac: Mac;
  readonly name: CommandName;
  readonly answer: Answer;
  readonly options: ExchangeOptions;
  state: ExchangeState = 'waiting';
  /** The link that the command left by. */
  link: Link | undefined;
  /** What the tokens granted that opened the links of its connector since it was asked, by their fingerprints. */
  askedBy: ReadonlyMap<string, Grant> = NOBODY;
  /** Bodies of the connector's that are arriving. */
  arriving = 0;
  /** What came of POSTs; undefined while there was none, as where the answer came over the link. */
  posts: Posts | undefined;
  error: RelayError | undefined;
  /** The connector itself reported the failure, so it need not be told to stop. */
  failedByConnector = false;
  #resultTaken = false;
  #timer: NodeJS.Timeout | undefined;
  #timerMs = 0;
  #timerError: (() => RelayError) | undefined;
  #held = false;
  /** Bytes since the last that counted as a sign of life. */
  #unsigned = 0;
  /** The deadline is the one of an answer that has begun, so that a sign of life only has to begin it anew. */
  #silence = false;
  readonly #owner: ExchangeOwner;

  constructor(options: ExchangeOptions, owner: ExchangeOwner) {
    this.id = options.id;
    this.mac = options.mac;
    this.name = options.name;
    this.answer = options.answer;
    this.options = options;
    this.#owner = owner;
  }

  get ended(): boolean {
    return this.state === 'succeeded' || this.state === 'failed';
  }

  /** Whether a result has been taken in, so that nothing is left to be asked for. */
  get hasResult(): boolean {
    return this.#resultTaken;
  }

  /** Sets the one deadline of this exchange; what it becomes is asked for when it passes. */
  setDeadline(ms: number, error: () => RelayError): void {
    clearTimeout(this.#timer);
    this.#timerMs = ms;
    this.#timerError = error;
    this.#silence = false;
    if (!this.#held && !this.ended) this.#startTimer();
  }

  #startTimer(): void {
    this.#timer = setTimeout(() => {
      if (this.#silence && this.#owner.fellSilent(this)) return;
      this.fail((this.#timerError as () => RelayError)());
    }, this.#timerMs);
  }

  /** The command was written to `link`. */
  markSent(link: Link): void {
    this.link = link;
    this.noteLink(link);
    this.state = 'sent';
    const ms = this.options.beginTimeoutMs(link);
    this.setDeadline(
      ms,
      () => new RelayError('request_timeout', `the connector did not begin to answer within ${seconds(ms)} s`),
    );
  }

  /** Its connector has this link, and so may answer with what opened it. */
  noteLink({ hello: { grant } }: Link): void {
    const { fingerprint } = grant;
    if (fingerprint === undefined || this.askedBy.has(fingerprint)) return;
    this.askedBy = new Map([...this.askedBy, [fingerprint, grant]]);
  }

  /** A sign that the connector is at it: the clock begins anew. */
  touch(): void {
    if (!this.#silence) this.markAnswering();
    else if (!this.#held && !this.ended) this.#timer?.refresh();
  }

  /** Bytes of the answer came. A few of them are not yet a sign. */
  noteBytes(count: number): void {
    this.#unsigned += count;
    if (this.#silence && this.#unsigned < SIGN_OF_LIFE_BYTES) return;
    this.#unsigned = 0;
    this.touch();
  }

  /** The answer has begun: from now on only silence counts. */
  markAnswering(): void {
    if (this.ended) return;
    this.state = 'answering';
    const ms = this.link === undefined ? this.#timerMs : this.options.silenceTimeoutMs(this.link);
    this.setDeadline(ms, () => new RelayError('request_timeout', `the connector fell silent for ${seconds(ms)} s`));
    this.#silence = true;
  }

  /** It is not the connector's turn (the app does not read): its silence is not counted. */
  hold(): void {
    this.#held = true;
    clearTimeout(this.#timer);
  }

  /** It is the connector's turn again. */
  release(): void {
    this.#held = false;
    if (!this.ended && this.#timerError !== undefined) {
      clearTimeout(this.#timer);
      this.#startTimer();
    }
  }

  /** Hands a JSON result to the pattern; a second one changes nothing. */
  async takeResult(result: Result): Promise<void> {
    if (this.#resultTaken) return;
    if (this.answer.takeResult === undefined)
      throw new RelayError('invalid_request', `a ${this.name} is not answered by such a result`);
    this.#resultTaken = true;
    this.markAnswering();
    try {
      await this.answer.takeResult(result);
    } catch (thrown) {
      const error = RelayError.from(thrown);
      const unusable = error.code === 'invalid_request';
      this.fail(
        unusable
          ? new RelayError('connector_failed', `the connector gave an unusable answer: ${error.message}`)
          : error,
      );
      throw error;
    }
  }

  succeed(): void {
    this.#end('succeeded');
  }

  /** Ends the exchange; the pattern is told why. */
  fail(error: RelayError): void {
    if (this.ended) return;
    this.error = error.with({ request_id: this.id });
    this.#end('failed');
    this.answer.fail(this.error);
  }

  /** Ends the exchange with the failure that its connector reported. */
  failByConnector(error: RelayError): void {
    if (this.ended) return;
    this.failedByConnector = true;
    this.fail(fitFailure(this, error));
  }

  #end(state: 'succeeded' | 'failed'): void {
    if (this.ended) return;
    this.state = state;
    clearTimeout(this.#timer);
    this.#owner.ended(this);
  }
}

const seconds = (ms: number): number => Math.round(ms / 100) / 10;
