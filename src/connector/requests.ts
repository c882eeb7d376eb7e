import type { Logger } from '../observability/logger.ts';
import { withTrace } from '../observability/trace.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Incoming } from '../protocol/commands.ts';
import { Lane } from './lane.ts';
import { answerCommand, describeCommand } from './patterns/answer.ts';
import type { RequestCommand, Services } from './patterns/handler.ts';
import { isGone } from './router-client.ts';

interface RequestsOptions extends Services {
  readonly maxConcurrent: number;
  readonly maxQueued: number;
  readonly logger: Logger;
}

/** One request that waits or runs. */
interface Job {
  readonly command: RequestCommand;
  readonly abort: AbortController;
  readonly logger: Logger;
  readonly receivedAt: number;
}

/** Why a job is aborted without a word to the router. */
const CANCELLED = new RelayError('cancelled', 'the request was cancelled');

/**
 * The commands that are being answered: so many transfers at once, the others in order of arrival up to a bound. `stat` and
 * `list` have a lane of their own, since a look at the catalog must not wait for apps that read slowly.
 */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #transfers: Lane<Job>;
  readonly #lookups: Lane<Job>;
  readonly #closing = new AbortController();
  readonly #idle: (() => void)[] = [];
  /** Failures of refused commands that are on their way. */
  #refusing = 0;
  #isDraining = false;

  constructor(options: RequestsOptions) {
    this.#options = options;
    const { maxConcurrent, maxQueued } = options;
    const lane = { maxConcurrent, maxQueued, run: (job: Job) => this.#run(job), onSettled: () => this.#settle() };
    this.#transfers = new Lane(lane);
    this.#lookups = new Lane(lane);
  }

  /** How many wait or run. */
  get size(): number {
    return this.#jobs.size;
  }

  /** Takes what came down a link. */
  take(incoming: Exclude<Incoming, { kind: 'event' }>): void {
    if (incoming.kind === 'refused') this.#refuse(incoming.requestId, incoming.error);
    else {
      const { command } = incoming;
      if (command.command === 'cancel') this.#cancel(command.request_id);
      else this.#accept(command);
    }
  }

  /** Takes no more commands; each is answered `draining`. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Resolves when nothing waits or runs. */
  whenIdle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Fails all that waits or runs as `draining`. */
  giveUp(): void {
    const reason = new RelayError('draining', 'the connector is shutting down and could not finish in time');
    for (const job of this.#jobs.values()) job.abort.abort(reason);
  }

  /** Ends everything at once, without a word. */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#closing.abort(CANCELLED);
    for (const job of this.#jobs.values()) job.abort.abort(CANCELLED);
    await this.whenIdle();
  }

  #accept(command: RequestCommand): void {
    const id = command.request_id;
    const previous = this.#jobs.get(id);
    if (previous !== undefined) {
      if (isSameTask(previous.command, command)) {
        previous.logger.debug('the command came again and is already being answered');
        return;
      }
      this.#abandon(previous, new RelayError('cancelled', 'replaced by a newer command with the same request_id'));
    }
    if (this.#isDraining) {
      this.#refuse(id, new RelayError('draining', 'the connector is shutting down'));
      return;
    }
    const lane = this.#laneOf(command);
    if (lane.isFull) {
      this.#refuse(id, new RelayError('overloaded', `the connector has ${this.#jobs.size} requests to answer already`));
      return;
    }
    const job = {
      command,
      abort: new AbortController(),
      logger: this.#options.logger.child({ request_id: id }),
      receivedAt: this.#options.clock.now(),
    };
    // What is done for it, its turn included, is a part of the trace that it came with.
    withTrace(command.traceparent, () => {
      job.logger.info(describeCommand(command), 'command received');
      this.#jobs.set(id, job);
      lane.add(job);
    });
  }

  #laneOf({ command }: RequestCommand): Lane<Job> {
    return command === 'stat' || command === 'list' ? this.#lookups : this.#transfers;
  }

  #cancel(id: string): void {
    const job = this.#jobs.get(id);
    if (job !== undefined) this.#abandon(job, CANCELLED);
  }

  /** Aborts a job and forgets it, so that another may use its id. */
  #abandon(job: Job, reason: RelayError): void {
    job.abort.abort(reason);
    this.#jobs.delete(job.command.request_id);
    if (this.#laneOf(job.command).remove(job)) job.logger.info('cancelled before it began');
  }

  /** Answers one command, whatever happens. Never rejects. */
  async #run(job: Job): Promise<void> {
    await withTrace(job.command.traceparent, () => this.#answer(job));
    const { request_id: id } = job.command;
    if (this.#jobs.get(id) === job) this.#jobs.delete(id);
  }

  async #answer({ command, abort: { signal }, logger, receivedAt }: Job): Promise<void> {
    const { clock } = this.#options;
    let reported: Promise<void> | undefined;
    const report = (error: unknown): Promise<void> => (reported ??= this.#report(command.request_id, error, logger));
    try {
      signal.throwIfAborted();
      const { bytes } = await answerCommand(command, { ...this.#options, signal, logger, reportFailure: report });
      logger.info({ bytes, ms: Math.round(clock.now() - receivedAt) }, 'done');
    } catch (error) {
      const ms = Math.round(clock.now() - receivedAt);
      if (isGone(signal.aborted ? signal.reason : error)) {
        logger.info({ ms }, signal.aborted ? 'cancelled' : 'stopped, since nobody waits for it any more');
        return;
      }
      logFailure(logger, error, ms);
      await report(error);
    }
  }

  #refuse(id: string, error: RelayError): void {
    const logger = this.#options.logger.child({ request_id: id });
    logger.warn({ code: error.code, reason: error.message }, 'command refused');
    this.#refusing++;
    void this.#report(id, error, logger).finally(() => {
      this.#refusing--;
      this.#settle();
    });
  }

  /** Tells the router of a failure. Never rejects: the router finds out by itself, later. */
  async #report(id: string, error: unknown, logger: Logger): Promise<void> {
    try {
      await this.#options.router.postFailure(id, toFailure(error), this.#closing.signal);
    } catch (failure) {
      if (isGone(failure) || this.#closing.signal.aborted) return;
      logger.warn({ reason: (failure as Error).message }, 'the router could not be told of the failure');
    }
  }

  #isIdle(): boolean {
    return this.#transfers.isIdle && this.#lookups.isIdle && this.#refusing === 0;
  }

  #settle(): void {
    if (this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** Whether a command that came again asks for what is being done already: the same part, to the same place. */
function isSameTask(a: RequestCommand, b: RequestCommand): boolean {
  return a.command === b.command && describeTask(a) === describeTask(b);
}

function describeTask(command: RequestCommand): string {
  if (command.command === 'get_dataset_offload') return command.upload.download_url;
  return 'offset' in command ? `${command.offset ?? 0}` : '0';
}

/** The error as a connector may report it. */
function toFailure(error: unknown): RelayError {
  if (!(error instanceof RelayError)) return new RelayError('connector_failed', 'the connector met an internal defect');
  if (error.code !== 'transfer_interrupted') return error;
  return new RelayError('connector_failed', error.message, { cause: error });
}

function logFailure(logger: Logger, error: unknown, ms: number): void {
  if (error instanceof RelayError && error.code !== 'internal') {
    logger.warn({ code: error.code, reason: error.message, ms }, 'failed');
  } else {
    logger.error({ err: error, ms }, 'failed by an internal defect');
  }
}
