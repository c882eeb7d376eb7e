import type { Config } from '../../config/options.ts';
import { readProxySettings } from '../../config/proxy.ts';
import { resolveConfig } from '../../config/resolve.ts';
import { createProxyChooser } from '../../http/proxy/choose-proxy.ts';
import { createTrust } from '../../http/trust.ts';
import { type ErrorCode, type Fetch, RelayClient, RelayError, type RetryOptions, withRetries } from '../../index.ts';
import { parseTraceparent } from '../../protocol/trace-context.ts';
import { certificatesSource } from '../certificates.ts';
import { tokenSource } from '../credentials.ts';
import { flagsOf } from '../flags.ts';
import type { CommandContext, Io } from '../io.ts';
import { openConnections } from './dispatcher.ts';
import { escapeForTerminal } from '../escape.ts';
import { explainError } from './explain.ts';
import { formatDuration } from './format.ts';
import { HINTS, markReported } from '../errors.ts';
import { STOP_SIGNALS } from '../signals.ts';
import { toProblemLine } from './problem-line.ts';
import { WaitLine } from './wait-line.ts';

/** What one `relay app …` command works with. */
export interface Session {
  readonly io: Io;
  readonly config: Config<'app'>;
  readonly client: RelayClient;
  /** For what is fetched from elsewhere than the router. */
  readonly fetch: Fetch;
  /** Fires with the RelayError to fail with: interrupted, or timed_out. */
  readonly signal: AbortSignal;
  /** Says something on standard error, unless that shall be quiet. */
  readonly note: (text: string) => void;
  /** Takes away the line that tells what is waited for, since something else is to be shown. */
  readonly endWaiting: () => void;
  /** Says what of the output is left for another run to go on with, should this one fail; undefined for nothing. */
  readonly keepPartial: (what: string | undefined) => void;
  /** What was last said of it. */
  readonly partial: () => string | undefined;
  /** Tries until it works, as `--retry` and `--wait` have it. */
  readonly retrying: <T>(attempt: () => Promise<T>, mayRetry?: () => boolean) => Promise<T>;
}

/** Whose absence is waited out, by what tells of it. */
const WAITED_FOR: Readonly<Partial<Record<ErrorCode, string>>> = {
  connector_offline: 'the connector',
  dataset_too_recent: 'the dataset',
};

/** Thrown by a command whose output nobody reads any more: it ends at once, and well. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

/** The connector and dataset that a command line names. */
export interface Subject {
  readonly mac?: string;
  readonly dataset?: string;
}

/**
 * Runs one command: reads its configuration, hears signals and the clock, cleans up, and completes errors with advice. A
 * first SIGINT, SIGTERM or SIGBREAK cancels what is under way, a second one ends at once.
 * @throws {RelayError} what went wrong, in words for people; with `--json` it is on standard error as JSON as well.
 */
export async function runSession(
  { io, version }: CommandContext,
  args: Readonly<Record<string, unknown>>,
  subject: Subject,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const { values: config, sources, warnings } = resolveConfig('app', flagsOf(args), io.surroundings);
  const token = tokenSource({ text: config.token, file: config.tokenFile, fileSource: sources['tokenFile'] });
  const chooseProxy = createProxyChooser(readProxySettings(config.proxy, io.surroundings.env));
  const proxy = chooseProxy(config.router);
  const connections = openConnections(chooseProxy, createTrust(certificatesSource(config.ca)), config.stallTimeoutMs);
  const stop = new AbortController();
  const twice = Promise.withResolvers<never>();
  const onSignal = (): void => {
    const interrupted = new RelayError('interrupted', 'interrupted');
    if (stop.signal.aborted) twice.reject(interrupted);
    else stop.abort(interrupted);
  };
  const timer = config.timeoutMs === undefined ? undefined : setTimeout(onTimeout, config.timeoutMs, config.timeoutMs);
  for (const signal of STOP_SIGNALS) io.signals.on(signal, onSignal);
  try {
    const client = new RelayClient({
      baseUrl: config.router,
      fetch: connections.fetch,
      codings: 'zstd, gzip',
      token,
      allowHttp: config.allowHttp,
      proxy,
      stallTimeoutMs: config.stallTimeoutMs,
      roundTripMs: () => connections.roundTripMs(config.router),
      userAgent: `relay/${version}`,
      traceparent: config.traceparent,
    });
    const session = createSession(io, config, client, connections.fetch, stop.signal);
    for (const warning of warnings) session.note(warning);
    if (config.traceparent !== undefined && parseTraceparent(config.traceparent) === undefined) {
      session.note(`${JSON.stringify(config.traceparent)} is no traceparent and is not sent`);
    }
    try {
      await Promise.race([work(session), twice.promise]);
    } catch (thrown) {
      if (thrown instanceof OutputClosed) return;
      const context = { client, proxy, ...subject, partial: session.partial() };
      const error = await explainError(RelayError.from(thrown), context);
      if (config.json) {
        io.stderr.write(toProblemLine(error));
        markReported(error);
      }
      throw error;
    }
  } finally {
    clearTimeout(timer);
    for (const signal of STOP_SIGNALS) io.signals.off(signal, onSignal);
    await connections.close();
  }

  function onTimeout(ms: number): void {
    stop.abort(new RelayError('timed_out', `the time allowed (${formatDuration(ms)}) has run out`));
  }
}

function createSession(io: Io, config: Config<'app'>, client: RelayClient, fetch: Fetch, signal: AbortSignal): Session {
  const line = new WaitLine(io.stderr);
  const note = (text: string): void => {
    line.clear();
    if (!config.quiet) io.stderr.write(`relay: ${escapeForTerminal(text)}\n`);
  };
  const showsLine = io.stderr.isTTY === true && !config.quiet && config.progress !== false;
  const retrying: Session['retrying'] = async (attempt, mayRetry) => {
    let told: string | undefined;
    const onRetry: RetryOptions['onRetry'] = (error, delayMs, retry, leftMs = 0) => {
      if (retry !== undefined) {
        note(`${error.message}; trying again in ${formatDuration(delayMs)} (${retry} of ${config.retry})`);
        return;
      }
      const subject = WAITED_FOR[error.code] ?? 'the router';
      if (told !== subject) {
        note(`${error.message}; waiting for ${subject} for up to ${formatDuration(leftMs)}`);
        const hint = HINTS[error.code];
        if (hint !== undefined) note(hint);
      }
      told = subject;
      if (showsLine) line.show(subject, Date.now() + leftMs);
    };
    const patience = { retries: config.retry, waitMs: config.waitMs, signal, onRetry };
    try {
      return await withRetries(attempt, { ...patience, ...(mayRetry && { mayRetry }) });
    } finally {
      line.clear();
    }
  };
  let partial: string | undefined;
  return {
    io,
    config,
    client,
    fetch,
    signal,
    note,
    endWaiting: () => line.clear(),
    keepPartial: (what) => {
      partial = what;
    },
    partial: () => partial,
    retrying,
  };
}
