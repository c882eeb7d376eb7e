import type { BigIntStats } from 'node:fs';
import type { DatasetInfo } from '../../protocol/answers.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { guessContentType } from './content-type.ts';
import { computeEtag } from './etag.ts';

/** What is known of a dataset without reading it. */
export interface DatasetFacts {
  /** The name as it is on disk, which may be another Unicode form of the one that was asked for. */
  readonly name: DatasetName;
  /** In bytes. */
  readonly size: number;
  readonly etag: string;
  /** Time of the last change; undefined where the file system has one that no calendar knows. */
  readonly modifiedAt: Date | undefined;
  /** The same as the file system has it, in ms since 1970. */
  readonly mtimeMs: number;
  readonly contentType: string;
}

const FIRST_YEAR = Date.UTC(1, 0);
const LAST_YEAR = Date.UTC(9999, 11, 31);

/** Reads the facts out of a stat. */
export function readFacts(name: DatasetName, stats: BigIntStats): DatasetFacts {
  const mtimeMs = Number(stats.mtimeNs / 1_000_000n);
  return {
    name,
    size: Number(stats.size),
    etag: computeEtag(stats),
    modifiedAt: mtimeMs >= FIRST_YEAR && mtimeMs <= LAST_YEAR ? new Date(mtimeMs) : undefined,
    mtimeMs,
    contentType: guessContentType(name),
  };
}

/** The facts as they travel in the answers to `stat` and `list`. */
export function toDatasetInfo({ name, size, etag, modifiedAt, contentType }: DatasetFacts): DatasetInfo {
  return {
    name,
    size,
    etag,
    content_type: contentType,
    ...(modifiedAt !== undefined && { mtime: modifiedAt.toISOString() }),
  };
}
