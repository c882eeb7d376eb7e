import { chmodSync, closeSync, mkdirSync, openSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';

export interface StateDatabaseOptions {
  /** The database file; made with mode 0600 where it is missing. */
  readonly path: string;
  /** What it is, in messages: `object index`. */
  readonly name: string;
  /** Statements that make what is missing in an older or empty file. */
  readonly schema: string;
  /** Version of the schema. A file of a later one is not read. */
  readonly version: number;
  /** Whether a change is on the disk, safe from a loss of power, when it returns; else only from the end of the process. */
  readonly isDurable: boolean;
  readonly logger: Logger;
}

/** Primary result codes of SQLite. */
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

/**
 * Opens a database file of the state directory, for one process at a time, or begins one. A damaged file is moved aside,
 * with a line in the log that says where to.
 * @throws {RelayError} usage when another process has it open; store_unavailable when it cannot be opened.
 */
export function openStateDatabase(options: StateDatabaseOptions): DatabaseSync {
  try {
    return openOrReplace(options);
  } catch (error) {
    const cannot = fromSqliteError(error, options.name);
    if (cannot.code === 'usage') throw cannot;
    throw new RelayError(
      cannot.code,
      `${cannot.message} (${options.path}). The user that runs the router must be able to write there; ` +
        '--state-dir names another directory',
      { cause: error },
    );
  }
}

/** What SQLite threw, in words: store_full where the disk is, usage where another process has the file. */
export function fromSqliteError(thrown: unknown, name: string): RelayError {
  const code = readResultCode(thrown);
  const options = { cause: thrown };
  if (code === SQLITE_BUSY) {
    return new RelayError('usage', 'another router uses this state directory: give each one its own', options);
  }
  const { message = String(thrown) } = Object(thrown) as { message?: string };
  return new RelayError(
    code === SQLITE_FULL ? 'store_full' : 'store_unavailable',
    `the ${name} cannot be used: ${message}`,
    options,
  );
}

function openOrReplace(options: StateDatabaseOptions): DatabaseSync {
  const { path, name, logger } = options;
  try {
    return openDatabase(options);
  } catch (error) {
    const code = readResultCode(error);
    if (code !== SQLITE_CORRUPT && code !== SQLITE_NOTADB) throw error;
    const aside = `${path}.damaged-${Date.now()}`;
    renameSync(path, aside);
    for (const suffix of ['-wal', '-shm', '-journal']) moveIfThere(`${path}${suffix}`, `${aside}${suffix}`);
    logger.error({ err: error, path, aside }, `the ${name} was damaged: it was moved aside and begun anew`);
    return openDatabase(options);
  }
}

function openDatabase({ path, name, schema, version, isDurable }: StateDatabaseOptions): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const database = new DatabaseSync(path);
  try {
    // Exclusive, because a second router on the same state directory would take the state of the first for its own.
    database.exec(
      `PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = ${isDurable ? 'FULL' : 'NORMAL'};`,
    );
    checkDatabase(database, name, version);
    database.exec(`${schema} PRAGMA user_version = ${version};`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function checkDatabase(database: DatabaseSync, name: string, version: number): void {
  const found = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  const check = database.prepare('PRAGMA quick_check(1)').get()?.quick_check;
  if (check === 'ok' && found <= version) return;
  const problem = check === 'ok' ? `its version is ${found}` : String(check);
  throw Object.assign(new Error(`not a file for the ${name} that this relay reads: ${problem}`), {
    errcode: SQLITE_CORRUPT,
  });
}

function moveIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** The primary result code of what SQLite threw; extended codes have it in their low byte. */
function readResultCode(thrown: unknown): number | undefined {
  const { errcode } = Object(thrown) as { errcode?: unknown };
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}
