import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import type { Logger } from '../observability/logger.ts';
import { fromSqliteError, openStateDatabase } from './state-database.ts';

/** What is known of one object in the store. */
export interface IndexedObject {
  readonly key: string;
  readonly mac: string;
  readonly dataset: string;
  /** Of the dataset at its node, with its quotes. */
  readonly etag: string;
  readonly size: number;
  readonly digest: string | null;
  /** Of the dataset, RFC 3339. */
  readonly lastModified: string | null;
  readonly createdAt: Date;
  /** When a URL of it was last handed out, or it was last read. */
  readonly lastUsedAt: Date;
  /** When the last of its URLs expires; null where none was handed out. */
  readonly urlExpiresAt: Date | null;
}

/** An object to add: the time of adding is also its first use, and no URL is out, unless it is said otherwise. */
export type NewObject = Omit<IndexedObject, 'createdAt' | 'lastUsedAt' | 'urlExpiresAt'> &
  Partial<Pick<IndexedObject, 'createdAt' | 'lastUsedAt' | 'urlExpiresAt'>>;

/** An upload that was begun by this router and has not ended. */
export interface PendingUpload {
  readonly key: string;
  /** Of the upload in parts; null while it may still come in one piece. */
  readonly uploadId: string | null;
  readonly startedAt: Date;
  /** Whether it is in parts and known well enough for another request to go on with it. */
  readonly isResumable: boolean;
}

/** An upload in parts with what it is of, so that a later request for the same content goes on with it. */
export interface ResumableUpload {
  readonly key: string;
  readonly uploadId: string;
  /** Of all parts but the last, in bytes. */
  readonly partSize: number;
  readonly mac: string;
  readonly dataset: string;
  /** Of the dataset at its node, with its quotes. */
  readonly etag: string;
}

export interface ObjectIndexOptions {
  /** The database file, as in `STATE_DIR/objects.db`; made with mode 0600 where it is missing. */
  readonly path: string;
  readonly logger: Logger;
}

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY, mac TEXT NOT NULL, dataset TEXT NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL,
    digest TEXT, last_modified TEXT, created_at INTEGER NOT NULL, last_used_at INTEGER NOT NULL, url_expires_at INTEGER
  ) STRICT;
  CREATE INDEX IF NOT EXISTS objects_by_dataset ON objects (mac, dataset, etag, created_at);
  CREATE INDEX IF NOT EXISTS objects_by_use ON objects (last_used_at);
  CREATE TABLE IF NOT EXISTS uploads (key TEXT PRIMARY KEY, upload_id TEXT, started_at INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS resumable (
    key TEXT PRIMARY KEY, mac TEXT NOT NULL, dataset TEXT NOT NULL, etag TEXT NOT NULL, part_size INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS resumable_by_dataset ON resumable (mac, dataset);
`;

const LIST_PENDING = 'SELECT * FROM uploads LEFT JOIN resumable USING (key) ORDER BY started_at';

const NAME = 'object index';

/** Times of use are kept this exactly and no more, since each note of one is a write to the disk. */
const USE_GRAIN_MS = 60_000;

/**
 * Which dataset each object holds, and until when it is needed: what lets the same content be uploaded once, and what the
 * sweeper goes by. A database file of the state directory, for one process at a time. Every change is on the disk when its
 * method returns.
 */
export class ObjectIndex {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /**
   * Opens the index, or begins one. A damaged file is moved aside, with a line in the log.
   * @throws {RelayError} usage when another process has it open; store_unavailable when it cannot be opened.
   */
  constructor({ path, logger }: ObjectIndexOptions) {
    this.#database = openStateDatabase({
      path,
      name: NAME,
      schema: SCHEMA,
      version: SCHEMA_VERSION,
      isDurable: true,
      logger,
    });
  }

  /** The newest object with this content. */
  find(mac: string, dataset: string, etag: string): IndexedObject | undefined {
    const sql = 'SELECT * FROM objects WHERE mac = ? AND dataset = ? AND etag = ? ORDER BY created_at DESC LIMIT 1';
    return this.#read(sql, mac, dataset, etag)[0];
  }

  get(key: string): IndexedObject | undefined {
    return this.#read('SELECT * FROM objects WHERE key = ?', key)[0];
  }

  /** Bytes of all objects together. */
  get totalBytes(): number {
    return Number(this.#run(() => this.#prepare('SELECT coalesce(sum(size), 0) AS total FROM objects').get())?.total);
  }

  /** Adds an object, or replaces what is known of it. */
  add(object: NewObject): void {
    const { createdAt = new Date(), lastUsedAt = createdAt } = object;
    this.#write(
      'INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      object.key,
      object.mac,
      object.dataset,
      object.etag,
      object.size,
      object.digest,
      object.lastModified,
      createdAt.getTime(),
      lastUsedAt.getTime(),
      object.urlExpiresAt?.getTime() ?? null,
    );
  }

  /**
   * Notes that an object was read, or that a URL of it was handed out. To the minute: an expiry is rounded up, a use that
   * follows another within a minute is not noted. Neither goes back. An unknown key is no error.
   */
  touch(key: string, { usedAt, urlExpiresAt }: { usedAt: Date; urlExpiresAt?: Date }): void {
    const expiry = urlExpiresAt === undefined ? null : Math.ceil(urlExpiresAt.getTime() / USE_GRAIN_MS) * USE_GRAIN_MS;
    this.#write(
      `UPDATE objects SET last_used_at = max(last_used_at, :used),
         url_expires_at = CASE WHEN :expiry IS NULL THEN url_expires_at ELSE max(coalesce(url_expires_at, 0), :expiry) END
       WHERE key = :key AND
         (last_used_at <= :used - :grain OR (:expiry IS NOT NULL AND coalesce(url_expires_at, 0) < :expiry))`,
      // By names, since Node.js 22.18 takes no numbers.
      { used: usedAt.getTime(), expiry, key, grain: USE_GRAIN_MS },
    );
  }

  /** Removes an object. An unknown key is no error. */
  remove(key: string): void {
    this.#write('DELETE FROM objects WHERE key = ?', key);
  }

  /**
   * Whether an object must stay: it has a URL that has not expired, or its upload is still pending, or it was added within
   * the last minute, so that its first URL may be on the way.
   */
  isLive(key: string, now: Date): boolean {
    const sql = `SELECT 1 FROM objects WHERE key = :key AND (url_expires_at > :now OR created_at > :now - :grain)
      UNION ALL SELECT 1 FROM uploads WHERE key = :key`;
    const values = { key, now: now.getTime(), grain: USE_GRAIN_MS };
    return this.#run(() => this.#prepare(sql).get(values) !== undefined);
  }

  /** Objects without a live URL that nobody used since a time, the longest unused first. */
  listUnused(since: Date, now: Date): IndexedObject[] {
    const sql = `SELECT * FROM objects WHERE last_used_at <= ? AND coalesce(url_expires_at, 0) <= ?
      ORDER BY last_used_at`;
    return this.#read(sql, since.getTime(), now.getTime());
  }

  /** Notes that an upload begins, or that it goes on in parts. */
  beginUpload(key: string, uploadId: string | null = null, startedAt: Date = new Date()): void {
    this.#write('INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)', key, uploadId, startedAt.getTime());
  }

  /** Leaves what could not be removed of a failed upload to the next sweep. */
  abandonUpload(key: string): void {
    this.#write('UPDATE uploads SET started_at = 0 WHERE key = ?', key);
  }

  /** Notes that an upload has ended, well or not. An unknown one is no error. */
  endUpload(key: string): void {
    this.#write('DELETE FROM resumable WHERE key = ?', key);
    this.#write('DELETE FROM uploads WHERE key = ?', key);
  }

  /** Notes that an upload in parts is under way, or has just stopped, and can be gone on with from then on. */
  noteResumable(upload: ResumableUpload, at: Date = new Date()): void {
    const { key, uploadId, mac, dataset, etag, partSize } = upload;
    this.beginUpload(key, uploadId, at);
    this.#write('INSERT OR REPLACE INTO resumable VALUES (?, ?, ?, ?, ?)', key, mac, dataset, etag, partSize);
  }

  /** Notes that an upload is not to be gone on with any more. */
  giveUpUpload(key: string): void {
    this.#write('DELETE FROM resumable WHERE key = ?', key);
  }

  /** Every upload of a dataset that can be gone on with, of whatever version, the latest first. */
  findResumable(mac: string, dataset: string): ResumableUpload[] {
    const sql = `SELECT * FROM resumable JOIN uploads USING (key)
      WHERE mac = ? AND dataset = ? AND upload_id IS NOT NULL ORDER BY started_at DESC`;
    return this.#run(() => this.#prepare(sql).all(mac, dataset)).map((row) => ({
      key: String(row.key),
      uploadId: String(row.upload_id),
      partSize: Number(row.part_size),
      mac: String(row.mac),
      dataset: String(row.dataset),
      etag: String(row.etag),
    }));
  }

  /** Every upload that was begun and has not ended, the oldest first, those of former processes included. */
  listPending(): PendingUpload[] {
    return this.#run(() => this.#prepare(LIST_PENDING).all()).map((row) => ({
      key: String(row.key),
      uploadId: row.upload_id === null ? null : String(row.upload_id),
      startedAt: new Date(Number(row.started_at)),
      isResumable: row.upload_id !== null && row.mac !== null,
    }));
  }

  /** Closes the file. A second call does nothing. */
  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #read(sql: string, ...values: (string | number)[]): IndexedObject[] {
    return this.#run(() => this.#prepare(sql).all(...values)).map(toObject);
  }

  #write(sql: string, ...values: SQLInputValue[] | [Record<string, SQLInputValue>]): void {
    this.#run(() => this.#prepare(sql).run(...(values as SQLInputValue[])));
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #run<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw fromSqliteError(error, NAME);
    }
  }
}

function toObject(row: Record<string, SQLOutputValue>): IndexedObject {
  return {
    key: String(row.key),
    mac: String(row.mac),
    dataset: String(row.dataset),
    etag: String(row.etag),
    size: Number(row.size),
    digest: row.digest === null ? null : String(row.digest),
    lastModified: row.last_modified === null ? null : String(row.last_modified),
    createdAt: new Date(Number(row.created_at)),
    lastUsedAt: new Date(Number(row.last_used_at)),
    urlExpiresAt: row.url_expires_at === null ? null : new Date(Number(row.url_expires_at)),
  };
}
