/** The content codings (RFC 9110 §8.4) that bodies may have on the way, the better one first. */
export const CODINGS = ['zstd', 'gzip'] as const;
export type Coding = (typeof CODINGS)[number];

/**
 * The coding that an `Accept-Encoding` field asks for, of those that there are here (RFC 9110 §12.5.3); undefined where
 * content is to stay as it is.
 */
export function chooseCoding(field: string | string[] | undefined): Coding | undefined {
  const weights = new Map<string, number>();
  for (const member of String(field ?? '').split(',')) {
    const [name = '', ...parameters] = member.split(';').map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    weights.set(name, weight === undefined ? 1 : Number(weight) || 0);
  }
  const weightOf = (coding: string): number => weights.get(coding) ?? weights.get('*') ?? 0;
  const best = CODINGS.reduce((one, other) => (weightOf(other) > weightOf(one) ? other : one));
  // What is named with a higher weight than the codings is wanted more.
  return weightOf(best) > 0 && weightOf(best) >= (weights.get('identity') ?? 0) ? best : undefined;
}

/** The entity tag of a coded representation, which is another one than the plain (RFC 9110 §8.8.3.3). */
export const codedEtag = (etag: string, coding: Coding): string => `${etag.slice(0, -1)}-${coding}"`;

/** The plain representation's tags in a field that may have those of coded ones. */
export const plainEtags = (field: string): string => field.replaceAll(CODED_ETAG, '"');
const CODED_ETAG = new RegExp(`-(?:${CODINGS.join('|')})"`, 'g');
