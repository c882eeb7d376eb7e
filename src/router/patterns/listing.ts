import type { DatasetInfo } from '../../protocol/answers.ts';
import { MAX_LIST_LIMIT } from '../../protocol/limits.ts';
import type { Mac } from '../../protocol/mac.ts';
import { cursorAfter, NameFilter, rollUp } from '../../protocol/name-filter.ts';
import type { Grant } from '../access/grant.ts';
import type { Context } from '../context.ts';
import { askList, type ListWish } from './catalog.ts';

/** One line of a listing: a dataset, or what several begin with that were rolled up, with its slash. */
export interface ListEntry {
  readonly key: string;
  readonly dataset?: DatasetInfo;
}

/** A page of a listing, in order of code units. */
export interface ListPage {
  readonly entries: readonly ListEntry[];
  /** The cursor of the next page, where there may be one. */
  readonly next?: string;
}

/**
 * A page of what a token covers of a connector's datasets, as if there were no others: neither its length nor its cursor
 * tells of them. A connector that said `list-filter` finds what is wanted; of another's all names come, and are looked at here.
 * @throws {RelayError} invalid_request where the filter cannot be; whatever became of the question.
 */
export async function listCovered(
  context: Context,
  mac: Mac,
  wish: ListWish,
  grant: Grant,
  signal: AbortSignal,
): Promise<ListPage> {
  const selection = new Selection(wish, grant);
  if (selection.isEmpty) return { entries: [] };
  const found: ListEntry[] = [];
  let { limit } = wish;
  for (let at = selection.start; ; limit = MAX_LIST_LIMIT) {
    const page = await askList(context, mac, { ...selection.question, limit, cursor: at }, signal);
    for (const entry of inOrder(page)) {
      const taken = selection.take(entry);
      if (taken !== undefined) found.push(taken);
    }
    const next = page.next === undefined ? undefined : selection.resume(page.next);
    const isLast = next === undefined || next === at;
    if (found.length >= wish.limit) {
      const entries = found.slice(0, wish.limit);
      const isMore = found.length > wish.limit || !isLast;
      return { entries, ...(isMore && { next: (entries.at(-1) as ListEntry).key }) };
    }
    if (isLast) return { entries: found };
    at = next;
  }
}

/** What one listing wants of all that a connector has. */
class Selection {
  readonly #wish: ListWish;
  readonly #grant: Grant;
  readonly #prefix: string;
  readonly #filter: NameFilter;
  /** Whether the connector may roll up: all that it would find is covered. */
  readonly #isRolledUpThere: boolean;
  /** What was rolled up last. */
  #last: string | undefined;
  /** Whether nothing can be both wanted and covered. */
  readonly isEmpty: boolean;
  /** What the connector is asked. */
  readonly question: Omit<ListWish, 'limit' | 'cursor'>;

  constructor(wish: ListWish, grant: Grant) {
    const { prefix = '', glob, delimiter, minAgeS } = wish;
    const isNarrower = prefix.startsWith(grant.base);
    this.#wish = wish;
    this.#grant = grant;
    this.#prefix = prefix;
    this.#isRolledUpThere = delimiter !== undefined && grant.coversAllBelow(prefix);
    this.isEmpty = !isNarrower && !grant.base.startsWith(prefix);
    const asked = { prefix: isNarrower ? prefix : grant.base, glob };
    this.#filter = new NameFilter(asked);
    this.question = {
      ...(asked.prefix !== '' && { prefix: asked.prefix }),
      ...(glob !== undefined && { glob }),
      ...(this.#isRolledUpThere && { delimiter }),
      minAgeS,
    };
  }

  /** Where to begin: what was given already, and what precedes all that is wanted, is passed over. */
  get start(): string | undefined {
    const { cursor, delimiter } = this.#wish;
    const { base } = this.#filter;
    // A glob may lead below what is rolled up.
    const first = delimiter === undefined || this.#prefix.startsWith(base) ? base : '';
    const given = delimiter === undefined || cursor === undefined ? undefined : rollUp(cursor, this.#prefix);
    const after = given === undefined ? cursor : cursorAfter(given);
    return first !== '' && (after === undefined || after < first) ? first : after;
  }

  /** What an entry of the connector's is in this listing; undefined where it is nothing, or given already. */
  take({ key, dataset }: ListEntry): ListEntry | undefined {
    const { delimiter, cursor } = this.#wish;
    if (dataset !== undefined) {
      if (!this.#filter.accepts(key) || !this.#grant.coversDataset(key)) return undefined;
    } else if (!this.#isRolledUpThere || !this.#filter.mayHold(key)) return undefined;
    const rolledUp = delimiter === undefined ? undefined : rollUp(key, this.#prefix);
    if (rolledUp === undefined) return dataset && { key, dataset };
    if (rolledUp === this.#last || (cursor !== undefined && rolledUp <= cursor)) return undefined;
    this.#last = rolledUp;
    return { key: rolledUp };
  }

  /** Where to go on after a page; undefined where nothing can follow. */
  resume(next: string): string | undefined {
    if (this.#filter.isPast(next)) return undefined;
    return this.#last !== undefined && next.startsWith(this.#last) ? cursorAfter(this.#last) : next;
  }
}

/** Datasets and prefixes, each in order, as one. */
function inOrder(page: { datasets: readonly DatasetInfo[]; prefixes: readonly string[] }): readonly ListEntry[] {
  const datasets = page.datasets.map((dataset) => ({ key: dataset.name, dataset }));
  if (page.prefixes.length === 0) return datasets;
  const prefixes: ListEntry[] = page.prefixes.map((key) => ({ key }));
  return [...datasets, ...prefixes].toSorted((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
}
