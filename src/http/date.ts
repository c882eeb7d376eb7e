const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const LONG_DAY = '(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)';
const MONTH = `(?<month>${MONTHS.join('|')})`;
const TIME = '(?<hour>[01]\\d|2[0-3]):(?<minute>[0-5]\\d):(?<second>[0-5]\\d|60)';

/** The one that is written today, and the two obsolete ones that every recipient takes (RFC 9110 §5.6.7). */
const FORMATS = [
  new RegExp(`^${DAY}, (?<day>\\d\\d) ${MONTH} (?<year>\\d{4}) ${TIME} GMT$`),
  new RegExp(`^${LONG_DAY}, (?<day>\\d\\d)-${MONTH}-(?<shortYear>\\d\\d) ${TIME} GMT$`),
  new RegExp(`^${DAY} ${MONTH} (?<day>[ \\d]\\d) ${TIME} (?<year>\\d{4})$`),
];

/** Reads an HTTP date in any of its three formats (RFC 9110 §5.6.7). Undefined for anything else, days that no month has among it. */
export function parseHttpDate(field: string, now: Date = new Date()): Date | undefined {
  const text = field.trim();
  for (const format of FORMATS) {
    const parts = format.exec(text)?.groups;
    if (parts === undefined) continue;
    const month = MONTHS.indexOf(parts['month'] ?? '');
    const [day, hour, minute, second] = ['day', 'hour', 'minute', 'second'].map((name) => Number(parts[name]));
    const at = (year: number): Date => new Date(Date.UTC(year, month, day, hour, minute, second));
    const isReal = (year: number): boolean => {
      const midnight = new Date(Date.UTC(year, month, day));
      return midnight.getUTCDate() === day && midnight.getUTCFullYear() === year;
    };
    const year = parts['year'] === undefined ? inCentury(Number(parts['shortYear']), at, now) : Number(parts['year']);
    return isReal(year) ? at(year) : undefined;
  }
  return undefined;
}

/** The year that two digits mean: the last one in the past where this century's would be more than 50 years ahead. */
function inCentury(short: number, at: (year: number) => Date, now: Date): number {
  const year = now.getUTCFullYear() - (now.getUTCFullYear() % 100) + short;
  const horizon = new Date(now).setUTCFullYear(now.getUTCFullYear() + 50);
  return at(year).getTime() > horizon ? year - 100 : year;
}

/** A time of last change as `Last-Modified` has it, never later than the answer itself (RFC 9110 §8.8.2.1). */
export const formatLastModified = (date: Date, now: Date = new Date()): string =>
  (date > now ? now : date).toUTCString();
