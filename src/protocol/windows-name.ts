/** Characters that no name of Windows can hold: separators, streams and drives, wildcards, quotes, pipes, controls. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const FORBIDDEN = /[\u0001-\u001f<>:"|?*\\]/;

/** Windows drops these from the end of a part, so that `.. ` climbs and `a.csv.` is `a.csv`. */
const DROPPED_AT_END = /[. ]$/;

/** Names that mean a device in every directory, also with spaces or an extension behind them. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9\u00b9\u00b2\u00b3]) *(?:\.|$)/i;

/**
 * Whether Windows takes a name for just what it says: relative, every part a plain file or directory of that spelling.
 * All else it reads as something else, or could not hold at all.
 * @param name of parts with `/` between them.
 */
export function isPlainOnWindows(name: string): boolean {
  return name
    .split('/')
    .every((part) => part !== '' && !FORBIDDEN.test(part) && !DROPPED_AT_END.test(part) && !DEVICE.test(part));
}

/** What a short alias (8.3) may look like: at most eight characters with `~` and a digit at their end, and three more. */
const SHORT_ALIAS = /^[^.]{0,6}~\d{1,6}(?:\.[^.]{0,3})?$/;

/**
 * Whether a part may be the short alias under which Windows, or a share of it that is mounted elsewhere, opens a file of
 * another name: `GIT~1` is `.git`. A file may have such a name of its own; only its directory tells.
 */
export const mayBeShortAlias = (part: string): boolean => part.length <= 12 && SHORT_ALIAS.test(part);
