/** Bytes from the first up to but without the second. */
export type Span = readonly [start: number, end: number];

/** The spans and one more, in order and with those that touch made one. */
export function addSpan(spans: readonly Span[], [start, end]: Span): Span[] {
  if (start >= end) return [...spans];
  const apart = spans.filter((span) => span[1] < start || span[0] > end);
  const touching = spans.filter((span) => span[1] >= start && span[0] <= end);
  const merged: Span = [
    Math.min(start, ...touching.map((span) => span[0])),
    Math.max(end, ...touching.map((span) => span[1])),
  ];
  return [...apart, merged].toSorted((a, b) => a[0] - b[0]);
}

/** What of `whole` none of the spans, which are in order, has. */
export function findGaps(spans: readonly Span[], [start, end]: Span): Span[] {
  const gaps: Span[] = [];
  let at = start;
  for (const [from, to] of spans) {
    if (to <= at || from >= end) continue;
    if (from > at) gaps.push([at, from]);
    at = Math.max(at, to);
  }
  if (at < end) gaps.push([at, end]);
  return gaps;
}

/** What of the spans lies from an offset on. */
export const cutBefore = (spans: readonly Span[], offset: number): Span[] =>
  spans.filter(([, end]) => end > offset).map(([start, end]) => [Math.max(start, offset), end]);

/** Bytes in all spans. */
export const countBytes = (spans: readonly Span[]): number => spans.reduce((sum, [start, end]) => sum + end - start, 0);

/** A span in pieces of so many bytes; the last may be shorter. */
export function cutSpan([start, end]: Span, bytes: number): Span[] {
  const count = Math.ceil((end - start) / bytes);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * bytes;
    return [at, Math.min(at + bytes, end)];
  });
}
