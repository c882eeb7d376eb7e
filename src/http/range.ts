/** A part of a representation: first byte and length. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads a `Range` field against a size (RFC 9110 §14.1.2).
 * @returns the part; `unsatisfiable` where it lies outside; undefined where the field is absent, malformed, of another unit
 * or names several ranges, all of which get the whole (RFC 9110 §14.2), and so does the end of what is empty, which no
 * `Content-Range` can name.
 */
export function parseRange(field: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=[\t ]*(\d*)-(\d*)[\t ]*$/i.exec(field ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return undefined;
    const wanted = Number(last);
    if (size === 0 && wanted > 0) return undefined;
    const length = Math.min(wanted, size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < offset) return undefined;
  return offset >= size ? 'unsatisfiable' : { offset, length: end - offset + 1 };
}

/** Reads the `Content-Range` of a body (RFC 9110 §14.4); undefined where it is malformed or leaves the size open. */
export function parseContentRange(field: string): (ByteRange & { readonly size: number }) | undefined {
  const match = /^bytes[\t ]+(\d{1,15})-(\d{1,15})\/(\d{1,15})$/i.exec(field.trim());
  if (match === null) return undefined;
  const [first, last, size] = match.slice(1).map(Number) as [number, number, number];
  return last < first || last >= size ? undefined : { offset: first, length: last - first + 1, size };
}

/** `Content-Range` of a part (RFC 9110 §14.4). */
export const formatContentRange = (range: ByteRange, size: number): string =>
  `bytes ${range.offset}-${range.offset + range.length - 1}/${size}`;
