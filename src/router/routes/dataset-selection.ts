import { allowsRange, isAnyTag, readSingleTag } from '../../http/conditions.ts';
import { parseRange } from '../../http/range.ts';
import type { DatasetInfo } from '../../protocol/answers.ts';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { OnChange } from '../../protocol/fields.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { Context } from '../context.ts';
import { factsOf, type Wanted } from '../dataset-answer.ts';
import { askStat, type Look } from '../patterns/catalog.ts';
import { holdToAge } from '../patterns/min-age.ts';
import { holdToPrefix } from '../patterns/on-change.ts';
import type { Part } from '../sink.ts';
import { answerCondition, isConditional, validatorsOf } from './dataset-conditions.ts';
import { goneSignal } from './gone-signal.ts';
import type { Call } from './route.ts';

/** A dataset of a connector, whether it may grow meanwhile, and for how many seconds it must not have changed. */
export interface Target {
  readonly mac: Mac;
  readonly dataset: DatasetName;
  readonly onChange: OnChange;
  readonly minAgeS: number;
}

/** What a GET is for. */
export type Selection = Pick<Wanted, 'part' | 'ifMatch' | 'isLooked' | 'admit'>;

/** What `Accept-Ranges` says of a connector's datasets. */
export const acceptRanges = ({ registry }: Context, mac: Mac): string =>
  registry.findLink(mac)?.hello.capabilities.has('range') === true ? 'bytes' : 'none';

/**
 * What is known of a dataset without reading it; undefined where its connector cannot tell.
 * @throws {RelayError} not_supported where it may grow and its connector cannot hold to what was there, or does not look at its age.
 */
export async function lookAt(
  context: Context,
  call: Call,
  target: Target,
  how: Pick<Look, 'id' | 'wantDigest'> = {},
): Promise<DatasetInfo | undefined> {
  const link = context.registry.findLink(target.mac);
  if (link !== undefined) {
    holdToPrefix(link.hello, target.onChange);
    holdToAge(link.hello, target.minAgeS);
  }
  if (link !== undefined && !link.hello.capabilities.has('stat')) return undefined;
  try {
    return target.onChange === 'prefix'
      ? await lookAtPrefix(context, call, target, how)
      : await ask(context, call, target, how);
  } catch (error) {
    // It was away when it was asked, and came back as one that cannot tell.
    const isHeld = target.onChange === 'prefix' || target.minAgeS > 0;
    if (isHeld || RelayError.from(error).code !== 'not_supported') throw error;
    return undefined;
  }
}

const ask = (context: Context, call: Call, { mac, dataset, minAgeS }: Target, look: Look): Promise<DatasetInfo> =>
  askStat(context, mac, dataset, goneSignal(call), { ...look, minAgeS });

/** Looks at the beginning of a dataset that a condition names, where it still begins so; else at all that is there. */
async function lookAtPrefix(context: Context, call: Call, target: Target, how: Look): Promise<DatasetInfo> {
  const { headers } = call.request;
  const { onChange } = target;
  const ifMatch = readSingleTag(headers['if-match']);
  const named = ifMatch ?? readSingleTag([headers['if-range'] ?? []].flat()[0]);
  if (named === undefined) return ask(context, call, target, { ...how, onChange });
  try {
    return await ask(context, call, target, { ...how, onChange, ifMatch: named });
  } catch (error) {
    if (ifMatch !== undefined || RelayError.from(error).code !== 'precondition_failed') throw error;
    // The id is spent.
    const { id: _id, ...rest } = how;
    return ask(context, call, target, { ...rest, onChange });
  }
}

/**
 * The part that a GET is for, and what the dataset is held to. Only what cannot be told without the dataset's size or its
 * validators costs a look at it first. Of a connector that cannot tell, the conditions are evaluated when it announces what
 * it sends.
 * @param how.takesRange whether a `Range` is for this answer, and not for where it leads.
 * @throws {RelayError} precondition_failed, range_not_satisfiable; whatever ended the look.
 */
export async function select(
  context: Context,
  call: Call,
  target: Target,
  { takesRange }: { readonly takesRange: boolean },
): Promise<'answered' | Selection> {
  const { headers } = call.request;
  const asked = takesRange ? headers.range : undefined;
  const { mac } = target;
  const ranges = (): string => acceptRanges(context, mac);
  let info: DatasetInfo | undefined;
  let isLooked = false;
  const look = async (): Promise<void> => {
    if (!isLooked) info = await lookAt(context, call, target);
    isLooked = true;
  };
  // It may be away for a moment, and without it nobody knows whether it can send parts.
  if (asked !== undefined && context.registry.findLink(mac) === undefined) await look();
  const range = ranges() === 'bytes' ? asked : undefined;
  const part = readPart(range);
  if (part === 'needs size' || needsValidators(call, part !== undefined)) await look();
  const ifMatch = readSingleTag(headers['if-match']);
  if (info === undefined) {
    const admits = isConditional(headers);
    return {
      // Without validators no If-Range holds, and without the size the end of the dataset is not to be found.
      part: part === 'needs size' || headers['if-range'] !== undefined ? undefined : part,
      ifMatch,
      ...(admits && { admit: (facts) => !answerCondition(context, call, validatorsOf(facts), ranges()) }),
    };
  }
  const { size, etag } = info;
  const validators = validatorsOf(factsOf(info));
  if (answerCondition(context, call, validators, ranges())) return 'answered';
  const held = holdTo(etag, ifMatch === undefined);
  if (!allowsRange(headers['if-range'], validators)) return held;
  const exact = parseRange(range, size);
  if (exact === 'unsatisfiable') {
    throw new RelayError('range_not_satisfiable', `the dataset has ${size} bytes`, { details: { size } });
  }
  return { ...held, part: exact };
}

/** Whether the preconditions need a look: all but an `If-Match` of one tag, which the connector holds to by itself. */
function needsValidators({ request: { headers } }: Call, hasPart: boolean): boolean {
  const ifMatch = headers['if-match'];
  return (
    headers['if-none-match'] !== undefined ||
    headers['if-modified-since'] !== undefined ||
    (ifMatch === undefined
      ? headers['if-unmodified-since'] !== undefined
      : !isAnyTag(ifMatch) && readSingleTag(ifMatch) === undefined) ||
    (hasPart && headers['if-range'] !== undefined)
  );
}

/** Holds what is sent to what was looked at. */
function holdTo(etag: string | undefined, isLooked: boolean): Selection {
  if (etag === undefined) return {};
  return {
    ifMatch: etag,
    isLooked,
    admit: (facts) => {
      if (facts.etag === undefined || facts.etag === etag) return true;
      throw new RelayError('precondition_failed', `the dataset is no longer ${etag}`);
    },
  };
}

/** The part that a `Range` field names; the last bytes of a dataset need its size. Undefined for the whole. */
function readPart(field: string | undefined): Part | 'needs size' | undefined {
  const range = parseRange(field, Number.MAX_SAFE_INTEGER);
  if (range === undefined) return undefined;
  if (range === 'unsatisfiable' || /=[\t ]*-/.test(field ?? '')) return 'needs size';
  const isOpen = range.offset + range.length >= Number.MAX_SAFE_INTEGER;
  return { offset: range.offset, ...(!isOpen && { length: range.length }) };
}
