import type { DatasetInfo, Result } from '../../protocol/answers.ts';
import type { Capability } from '../../protocol/capabilities.ts';
import type { Command, CommandName } from '../../protocol/commands.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { OnChange } from '../../protocol/fields.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { DELIMITER, NameWish } from '../../protocol/name-filter.ts';
import { createRequestId } from '../../protocol/request-id.ts';
import type { Context } from '../context.ts';
import type { Exchange } from '../exchange.ts';
import type { Hello, Link } from '../links/link.ts';
import { holdToAge } from './min-age.ts';
import { holdToPrefix } from './on-change.ts';

/** A digest reads the whole dataset, which takes what it takes; a connector that says `progress` is held to its silence. */
const DIGEST_TIMEOUT_MS = 3_600_000;

/** A question to a connector that is answered with JSON alone. */
interface Question<T> {
  readonly mac: Mac;
  /** The id to ask under; one of its own by default. */
  readonly id?: string;
  /** What the connector must have said to be asked at all. */
  readonly needs: Capability & CommandName;
  command(id: string, link: Link): Extract<Command, { command: 'stat' | 'list' | 'digest' }>;
  /** The part of the result that answers the question; undefined where it is missing. */
  read(result: Result): T | undefined;
  readonly beginTimeoutMs?: (link: Link) => number;
  readonly onProgress?: (bytesDone: number, totalSize: number | undefined) => void;
  readonly signal: AbortSignal;
}

/**
 * Asks a connector and waits for its answer.
 * @throws {RelayError} not_supported when it did not say that it can; connector_failed when the answer is not one;
 * whatever ended the exchange.
 */
function ask<T>(context: Context, question: Question<T>): Promise<T> {
  const id = question.id ?? createRequestId(context.routerId);
  const { signal } = question;
  let exchange: Exchange | undefined;
  const abort = (): void => exchange?.fail(RelayError.from(signal.reason, 'cancelled'));
  const answered = new Promise<T>((resolve, reject) => {
    exchange = context.dispatcher.submit({
      id,
      mac: question.mac,
      name: question.needs,
      command: (link) => {
        if (!link.hello.capabilities.has(question.needs)) {
          throw new RelayError('not_supported', `this connector cannot answer ${question.needs}`);
        }
        return question.command(id, link);
      },
      resend: 'always',
      beginTimeoutMs: question.beginTimeoutMs ?? (() => context.options.firstByteTimeoutMs),
      silenceTimeoutMs: () => context.options.silenceTimeoutMs,
      answer: {
        takeResult: (result) => {
          const answer = question.read(result);
          if (answer === undefined)
            throw new RelayError('invalid_request', `the result does not answer a ${question.needs}`);
          exchange?.succeed();
          resolve(answer);
        },
        takeProgress: ({ bytes_done, total_size }) => question.onProgress?.(bytes_done, total_size),
        fail: reject,
      },
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
  });
  // Who asks for page after page does so with one signal, which must not hold all the answers.
  return answered.finally(() => signal.removeEventListener('abort', abort));
}

/** Which state of a dataset is meant. */
interface Version {
  /** Default `fail`. */
  readonly onChange?: OnChange | undefined;
  /** The entity tag that the connector is to hold to. */
  readonly ifMatch?: string | undefined;
  /** For how long it must not have changed, in seconds. Default 0: any. */
  readonly minAgeS?: number | undefined;
}

const holdTo = (
  hello: Hello,
  { onChange = 'fail', ifMatch, minAgeS = 0 }: Version,
): { on_change?: 'prefix'; if_match?: string; min_age?: number } => ({
  ...holdToPrefix(hello, onChange),
  ...holdToAge(hello, minAgeS),
  ...(ifMatch !== undefined && { if_match: ifMatch }),
});

/** How to look at a dataset. Connectors hold to a tag only together with `prefix`, others do not look at it. */
export interface Look extends Version {
  readonly id?: string;
  /** Tell its digest too, where the connector has it already. */
  readonly wantDigest?: boolean;
}

/** Size, entity tag and times of one dataset. */
export function askStat(
  context: Context,
  mac: Mac,
  dataset: DatasetName,
  signal: AbortSignal,
  { id, wantDigest = false, ...version }: Look = {},
): Promise<DatasetInfo> {
  return ask(context, {
    mac,
    needs: 'stat',
    ...(id !== undefined && { id }),
    command: (request_id, { hello }) => ({
      command: 'stat',
      request_id,
      dataset_name: dataset,
      ...holdTo(hello, version),
      ...(wantDigest && hello.capabilities.has('digest') && { want_digest: true }),
    }),
    read: (result) => result.dataset,
    signal,
  });
}

/** What is asked of a listing. */
export interface ListWish extends NameWish {
  readonly limit: number;
  /** Only names after this one, in order of code units. */
  readonly cursor?: string | undefined;
  /** Names with another one of these beyond the prefix are rolled up. */
  readonly delimiter?: typeof DELIMITER | undefined;
  /** Only what has not changed for so many seconds. Default 0: any. */
  readonly minAgeS?: number | undefined;
}

/**
 * One page of what a connector offers. One that did not say `list-filter` gives names of all kinds, and rolls up none, so
 * whoever asks looks at each.
 */
export function askList(
  context: Context,
  mac: Mac,
  { limit, cursor, minAgeS = 0, ...filter }: ListWish,
  signal: AbortSignal,
): Promise<{ datasets: DatasetInfo[]; prefixes: string[]; next?: string }> {
  return ask(context, {
    mac,
    needs: 'list',
    command: (request_id, { hello }) => ({
      command: 'list',
      request_id,
      limit,
      ...(cursor !== undefined && { cursor }),
      ...(hello.capabilities.has('list-filter') && filter),
      ...holdToAge(hello, minAgeS),
    }),
    read: ({ datasets, prefixes = [], next }) =>
      datasets && { datasets, prefixes, ...(next !== undefined && { next }) },
    signal,
  });
}

/** The digest of a whole dataset, for which the connector reads all of it. */
export function askDigest(
  context: Context,
  {
    id,
    mac,
    dataset,
    signal,
    onProgress,
    ...version
  }: Version & {
    id: string;
    mac: Mac;
    dataset: DatasetName;
    signal: AbortSignal;
    onProgress: (bytesDone: number, totalSize: number | undefined) => void;
  },
): Promise<{ size: number; etag: string | undefined; digest: string; currentSize: number | undefined }> {
  return ask(context, {
    mac,
    id,
    needs: 'digest',
    command: (request_id, { hello }) => ({
      command: 'digest',
      request_id,
      dataset_name: dataset,
      ...holdTo(hello, version),
    }),
    read: ({ size, etag, digest, current_size: currentSize }) =>
      digest === undefined || size === undefined ? undefined : { size, etag, digest, currentSize },
    beginTimeoutMs: ({ hello }) =>
      hello.capabilities.has('progress') ? context.options.firstByteTimeoutMs : DIGEST_TIMEOUT_MS,
    onProgress,
    signal,
  });
}
