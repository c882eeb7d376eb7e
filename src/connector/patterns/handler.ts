import type { Logger } from '../../observability/logger.ts';
import type { Command, CommandName, CommandOf } from '../../protocol/commands.ts';
import type { Clock } from '../clock.ts';
import type { LineRate } from '../../http/line-rate.ts';
import type { Codings } from '../coding/codings.ts';
import type { DataDir } from '../datasets/data-dir.ts';
import type { Digests } from '../datasets/digests.ts';
import type { Agents } from '../http/agents.ts';
import type { Passages } from '../passages.ts';
import type { RoundTrips } from '../round-trips.ts';
import type { RouterClient } from '../router-client.ts';
import type { Uploads } from '../uploads.ts';

/** What all requests share. */
export interface Services {
  readonly dataDir: DataDir;
  readonly digests: Digests;
  readonly router: RouterClient;
  readonly agents: Agents;
  readonly clock: Clock;
  readonly passages: Passages;
  readonly codings: Codings;
  readonly lineRate: LineRate;
  /** The same for the router's own store, to which the way is the same and whose disk may be slower. */
  readonly storeCodings: Codings;
  readonly storeRate: LineRate;
  readonly roundTrips: RoundTrips;
  /** Most chunks of one dataset that are sent side by side; 1 for none. */
  readonly maxParallel: number;
  readonly uploads: Uploads;
  /** Whether anything may be put into a store. */
  readonly offload: boolean;
}

/** What one request has. */
export interface RequestContext extends Services {
  /** Aborts when the request is cancelled or the connector closes. */
  readonly signal: AbortSignal;
  /** Carries the `request_id`. */
  readonly logger: Logger;
  /** Tells the router that the request failed, at most once; for a handler that must say so before it returns. */
  readonly reportFailure: (error: unknown) => Promise<void>;
}

/** What a request came to, for the log. */
export interface Outcome {
  /** Bytes of datasets that were sent. */
  readonly bytes: number;
}

/**
 * Answers one command. What it throws is reported as the failure of the request, except where nobody waits any more.
 */
export type Handler<N extends CommandName> = (command: CommandOf<N>, context: RequestContext) => Promise<Outcome>;

/** A command that asks for an answer. */
export type RequestCommand = Exclude<Command, { command: 'cancel' }>;
