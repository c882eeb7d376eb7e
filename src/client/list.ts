import type { DatasetInfo } from '../protocol/answers.ts';
import { datasetList } from '../protocol/app.ts';
import { MAX_LIST_LIMIT } from '../protocol/limits.ts';
import { DELIMITER, NameFilter, rollUp } from '../protocol/name-filter.ts';
import type { CallOptions } from './call-options.ts';
import { type AgeOptions, requireMinAge, toMinAge } from './min-age.ts';
import type { Transport } from './transport.ts';

/** What a request for a listing takes. */
export interface DatasetsOptions extends CallOptions, AgeOptions {
  /** Only names that begin with this. */
  readonly prefix?: string | undefined;
  /** Only names that match this; `*` stops at a slash, `**` does not. */
  readonly glob?: string | undefined;
  readonly delimiter?: undefined;
}

/** What a request for a listing of one directory takes. */
export interface DirectoryOptions extends Omit<DatasetsOptions, 'delimiter'> {
  /** Roll names up that have another slash beyond the prefix. */
  readonly delimiter: typeof DELIMITER;
}

/** What several names begin with that were rolled up, up to and with the slash. */
export interface DatasetPrefix {
  readonly prefix: string;
}

/** The datasets of a connector, page by page as they are read. A router that filters none is helped out. */
export async function* listDatasets(
  transport: Transport,
  mac: string,
  { prefix, glob, delimiter, minAgeMs, signal }: DatasetsOptions | DirectoryOptions,
): AsyncGenerator<DatasetInfo | DatasetPrefix, void, undefined> {
  const path = `connectors/${mac}/datasets`;
  const filter = new NameFilter({ prefix, glob });
  let last: string | undefined;
  for (let cursor: string | undefined, more = true; more; ) {
    const query = { limit: MAX_LIST_LIMIT, prefix, glob, delimiter, cursor, ...toMinAge({ minAgeMs }) };
    const response = await requireMinAge(await transport.send({ method: 'GET', path, query, signal }), query);
    const page = await transport.readJson(response, datasetList, signal);
    const { prefixes = [] } = page;
    const datasets = page.datasets.filter(({ name }) => filter.accepts(name));
    const found: (DatasetInfo | string)[] = [...datasets, ...prefixes];
    if (prefixes.length > 0) found.sort((a, b) => compare(keyOf(a), keyOf(b)));
    for (const entry of found) {
      const rolledUp = delimiter === undefined ? undefined : rollUp(keyOf(entry), prefix ?? '');
      if (rolledUp !== undefined && rolledUp !== last) yield { prefix: rolledUp };
      else if (rolledUp === undefined && typeof entry !== 'string') yield entry;
      last = rolledUp ?? last;
    }
    more = page.next !== undefined && page.next !== cursor;
    cursor = page.next;
  }
}

const keyOf = (entry: DatasetInfo | string): string => (typeof entry === 'string' ? entry : entry.name);

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
