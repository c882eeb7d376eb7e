import { RelayError } from './errors.ts';

declare const brand: unique symbol;

/** A MAC address in its one written form, `cc-28-aa-01-02-03`. */
export type Mac = string & { readonly [brand]: 'Mac' };

const SPELLINGS = [
  /^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}$/,
  /^[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}$/,
  /^[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}$/,
  /^[0-9A-Fa-f]{12}$/,
];

/** What any of these spellings matches, and nothing else. */
export const MAC_PATTERN = SPELLINGS.map(({ source }) => source).join('|');

/**
 * Reads a MAC address in any usual spelling (colons, hyphens, dotted quads, bare).
 * @returns the canonical form, or `invalid_request` that shows what was given.
 */
export function parseMac(text: string): Mac | RelayError {
  const trimmed = text.trim();
  if (!SPELLINGS.some((spelling) => spelling.test(trimmed))) {
    return new RelayError(
      'invalid_request',
      `${JSON.stringify(text.slice(0, 64))} is not a MAC address (as in cc-28-aa-01-02-03)`,
    );
  }
  const digits = trimmed.replace(/[^0-9a-f]/gi, '').toLowerCase();
  return (digits.match(/../g) as string[]).join('-') as Mac;
}
