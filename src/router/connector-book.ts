import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Logger } from '../observability/logger.ts';
import type { Mac } from '../protocol/mac.ts';
import { openStateDatabase } from '../store/state-database.ts';
import type { Hello } from './links/link.ts';

/** What a connector said of itself that outlives its link. */
export type ConnectorFacts = Pick<Hello, 'mac' | 'version' | 'name' | 'labels'>;

/** A connector that a former process of this router knew. */
export interface KnownConnector {
  readonly facts: ConnectorFacts;
  /** In ms since the epoch; never later than now. */
  readonly lastSeen: number;
  /** It had a link when that process ended, so that its absence is the router's doing. */
  readonly isExpected: boolean;
}

interface ConnectorBookOptions {
  /** The database file, as in `STATE_DIR/connectors.db`. */
  readonly path: string;
  readonly logger: Logger;
}

/** How often the time is noted up to which connected ones were there: one small write for all of them. */
const ALIVE_INTERVAL_MS = 10_000;
/** How often the log says that nothing can be written. */
const WARNING_INTERVAL_MS = 60_000;

const GONE = 0;
const CONNECTED = 1;
const EXPECTED = 2;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS connectors (
    mac TEXT PRIMARY KEY, version TEXT, name TEXT, labels TEXT NOT NULL, last_seen INTEGER NOT NULL,
    state INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS alive (only INTEGER PRIMARY KEY CHECK (only = 1), at INTEGER NOT NULL) STRICT;
`;

/**
 * Which connectors were ever connected, in a database file of the state directory. Coming and going is in the file when its
 * method returns, and outlives a kill of the process; a loss of power may cost the last moments, never the file. What cannot
 * be written is logged and costs no more than that.
 */
export class ConnectorBook {
  readonly #database: DatabaseSync;
  readonly #logger: Logger;
  readonly #statements: Readonly<Record<'connected' | 'left' | 'alive' | 'forget', StatementSync>>;
  readonly #timer: NodeJS.Timeout;
  #connected = 0;
  #warnedAt: number | undefined;

  /** @throws {RelayError} usage when another process has it open; store_unavailable when it cannot be opened. */
  constructor({ path, logger }: ConnectorBookOptions) {
    this.#logger = logger;
    this.#database = openStateDatabase({
      path,
      name: 'record of connectors',
      schema: SCHEMA,
      version: 1,
      isDurable: false,
      logger,
    });
    this.#statements = {
      connected: this.#database.prepare(
        `INSERT INTO connectors VALUES (?, ?, ?, ?, ?, ${CONNECTED}) ON CONFLICT (mac) DO UPDATE SET
           version = excluded.version, name = excluded.name, labels = excluded.labels, last_seen = excluded.last_seen,
           state = excluded.state`,
      ),
      left: this.#database.prepare('UPDATE connectors SET last_seen = ?, state = ? WHERE mac = ?'),
      alive: this.#database.prepare(
        'INSERT INTO alive VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET at = excluded.at',
      ),
      forget: this.#database.prepare('DELETE FROM connectors WHERE mac = ?'),
    };
    this.#timer = setInterval(() => {
      if (this.#connected > 0) this.#write(() => this.#statements.alive.run(Date.now()));
    }, ALIVE_INTERVAL_MS).unref();
  }

  /** All that is known from former processes. To be called once, before anything is noted. */
  load(): KnownConnector[] {
    const now = Date.now();
    // Those that were connected at the end were there for as long as that process was.
    this.#write(() =>
      this.#database.exec(
        `UPDATE connectors SET last_seen = max(last_seen, coalesce((SELECT at FROM alive), 0)), state = ${EXPECTED}
           WHERE state = ${CONNECTED}`,
      ),
    );
    const rows = this.#database.prepare('SELECT mac, version, name, labels, last_seen, state FROM connectors').all();
    return rows.map((row) => ({
      facts: {
        mac: String(row['mac']) as Mac,
        version: row['version'] === null ? null : String(row['version']),
        name: row['name'] === null ? null : String(row['name']),
        labels: JSON.parse(String(row['labels'])) as Record<string, string>,
      },
      // Where the clock was set back since, a time to come is no time at which anybody was seen.
      lastSeen: Math.min(Number(row['last_seen']), now),
      isExpected: Number(row['state']) === EXPECTED,
    }));
  }

  /** A link is up; `isFirst` unless it takes the place of another. */
  noteConnected({ mac, version, name, labels }: ConnectorFacts, at: number, isFirst: boolean): void {
    if (isFirst) this.#connected++;
    this.#write(() => this.#statements.connected.run(mac, version, name, JSON.stringify(labels), at));
  }

  /** A link is gone. @param isExpected the router sent it away, so that it will be back. */
  noteGone(mac: Mac, at: number, isExpected: boolean): void {
    this.#connected--;
    this.#write(() => this.#statements.left.run(at, isExpected ? EXPECTED : GONE, mac));
  }

  /** Forgets connectors, all in one write. */
  forget(macs: readonly Mac[]): void {
    this.#write(() => {
      this.#database.exec('BEGIN');
      try {
        for (const mac of macs) this.#statements.forget.run(mac);
        this.#database.exec('COMMIT');
      } catch (error) {
        this.#database.exec('ROLLBACK');
        throw error;
      }
    });
  }

  /** Closes the file; what is noted from then on is not kept. */
  close(): void {
    clearInterval(this.#timer);
    if (!this.#database.isOpen) return;
    if (this.#connected > 0) this.#write(() => this.#statements.alive.run(Date.now()));
    this.#database.close();
  }

  #write(action: () => unknown): void {
    if (!this.#database.isOpen) return;
    try {
      action();
    } catch (error) {
      const now = performance.now();
      if (this.#warnedAt !== undefined && now - this.#warnedAt < WARNING_INTERVAL_MS) return;
      this.#warnedAt = now;
      this.#logger.warn(
        { err: error },
        'the record of connectors cannot be written; a restart will not know the latest',
      );
    }
  }
}
