import { once } from 'node:events';
import { pino } from 'pino';
import { Connector, type ConnectorOptions } from '../../../src/connector/connector.ts';
import type { Logger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';

/** A line of the log. */
export type LogLine = { level: number; msg: string; request_id?: string; code?: string; reason?: string } & Record<
  string,
  unknown
>;

export const WARN = 40;
export const ERROR = 50;

/** A logger that keeps its lines. */
export function recordLog(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const logger = pino({ level: 'debug' }, { write: (text: string) => void lines.push(JSON.parse(text) as LogLine) });
  return { logger, lines };
}

/** A connector that runs until the end of the scope, with deadlines short enough for tests. */
export class RunningConnector implements AsyncDisposable {
  readonly connector: Connector;
  readonly done: Promise<void>;
  readonly log: LogLine[];

  private constructor(connector: Connector, log: LogLine[]) {
    this.connector = connector;
    this.log = log;
    this.done = connector.run();
    this.done.catch(() => {});
  }

  static start(options: Partial<ConnectorOptions> & Pick<ConnectorOptions, 'routerUrl' | 'dataDir'>): RunningConnector {
    const { logger, lines } = recordLog();
    const connector = new Connector({
      mac: 'cc-28-aa-01-02-03' as Mac,
      version: '1.2.3-test',
      logger,
      reconnectMinMs: 10,
      reconnectMaxMs: 100,
      connectTimeoutMs: 2000,
      ...options,
    });
    return new RunningConnector(connector, lines);
  }

  /** Starts and waits for the first link. */
  static async online(options: Parameters<typeof RunningConnector.start>[0]): Promise<RunningConnector> {
    const running = RunningConnector.start(options);
    await once(running.connector, 'online');
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connector.close();
  }
}

/** Waits until a condition holds, looking every few milliseconds; fails after `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not in ${timeoutMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The first line of the log whose message or reason matches; waits for it. */
export async function findLine(running: RunningConnector, words: RegExp): Promise<LogLine> {
  const find = (): LogLine | undefined =>
    running.log.find(({ msg, reason }) => words.test(msg) || (reason !== undefined && words.test(reason)));
  await until(() => find() !== undefined);
  return find() as LogLine;
}
