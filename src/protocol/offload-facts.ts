import type { PatternFacts } from './choose-pattern.ts';

/** What a router tells an app of the way by the store. */
export type OffloadFacts = Pick<PatternFacts, 'isStored' | 'isShort' | 'streamRate' | 'uploadRate'>;

/**
 * Writes the value of `Relay-Offload`, an Item of RFC 9651: `available`, with the parameters `stored` and `short` where
 * they hold, and the rates `stream` and `upload` in bytes a second where they were measured.
 */
export function formatOffloadFacts({ isStored, isShort, streamRate, uploadRate }: OffloadFacts): string {
  return [
    'available',
    ...(isStored === true ? ['stored'] : []),
    ...(isShort === true ? ['short'] : []),
    ...(streamRate === undefined ? [] : [`stream=${streamRate}`]),
    ...(uploadRate === undefined ? [] : [`upload=${uploadRate}`]),
  ].join(';');
}

/** Reads such a value; what is unknown or nonsense is left out. @returns undefined where no such way is named. */
export function parseOffloadFacts(field: string | null): OffloadFacts | undefined {
  const [item, ...parameters] = (field ?? '').split(';').map((each) => each.trim());
  if (item !== 'available') return undefined;
  const values = new Map(parameters.map((each) => each.split('=', 2) as [string, string | undefined]));
  const rate = (name: string): number | undefined => {
    const text = values.get(name);
    return text !== undefined && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
  };
  return {
    isStored: values.has('stored') && values.get('stored') === undefined,
    isShort: values.has('short') && values.get('short') === undefined,
    streamRate: rate('stream'),
    uploadRate: rate('upload'),
  };
}
