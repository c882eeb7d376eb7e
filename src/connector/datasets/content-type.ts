import { lookup } from 'mime-types';

/** Registered types of data files that the database of endings does not have. */
const DATA_TYPES: ReadonlyMap<string, string> = new Map([
  ['parquet', 'application/vnd.apache.parquet'],
  ['arrow', 'application/vnd.apache.arrow.file'],
  ['arrows', 'application/vnd.apache.arrow.stream'],
]);

/** The media type that a name's ending stands for. No charset is named, since nobody looked into the file. */
export function guessContentType(name: string): string {
  const ending = /\.([^./]+)$/.exec(name)?.[1]?.toLowerCase() ?? '';
  return DATA_TYPES.get(ending) ?? (lookup(name) || 'application/octet-stream');
}
