/**
 * Which trace of its owner's a request belongs to, as `00-<trace id>-<parent id>-<flags>` (W3C Trace Context §3.2). relay
 * passes it on as it is and makes none of its own.
 */
export type Traceparent = string & { readonly __brand: 'Traceparent' };

const VERSION_00 = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** A later version begins in the same way; `ff` is none. */
const LATER = /^(?!ff)[0-9a-f]{2}(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-)([0-9a-f]{2})(?:-.*)?$/;

/** Reads a `traceparent`; undefined where it is none. One of a later version becomes what this one can say of it. */
export function parseTraceparent(text: string | null | undefined): Traceparent | undefined {
  if (text === null || text === undefined || text.length > 512) return undefined;
  if (VERSION_00.test(text)) return text as Traceparent;
  if (text.startsWith('00')) return undefined;
  const [, ids = '', flags = ''] = LATER.exec(text) ?? [];
  // Of the flags only the first has a meaning here: whether the trace is recorded.
  return ids === '' ? undefined : (`00${ids}0${Number.parseInt(flags, 16) & 1}` as Traceparent);
}

/** The id of the trace, as logs show it. */
export function traceIdOf(traceparent: Traceparent): string {
  return traceparent.slice(3, 35);
}
