/**
 * How much an `Accept` field wants any of these media ranges, from 0 to 1 (RFC 9110 §12.5.1); 0 where it names none. Only
 * what it has in so many words counts: `text/*` is a range of its own here.
 */
export function weightOf(accept: string | undefined, ...ranges: readonly string[]): number {
  let weight = 0;
  for (const member of (accept ?? '').split(',')) {
    const [range = '', ...parameters] = member.split(';').map((part) => part.trim().toLowerCase());
    if (!ranges.includes(range)) continue;
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    weight = Math.max(weight, q === undefined ? 1 : Number(q) || 0);
  }
  return weight;
}

/** Whether pages and then anything are named, but not XHTML: Java's own client does so, whoever uses it, and no browser. */
const isProgram = (accept: string | undefined): boolean =>
  weightOf(accept, '*/*') > 0 && weightOf(accept, 'application/xhtml+xml') === 0;

/** Whether a person is to read the answer: pages or plain text are wanted more than JSON. Who takes anything gets JSON. */
export function prefersText(accept: string | undefined): boolean {
  const text = weightOf(accept, 'text/plain', 'text/*', ...(isProgram(accept) ? [] : ['text/html']));
  const json = weightOf(accept, 'application/problem+json', 'application/json', 'application/*');
  return text > json && text >= weightOf(accept, '*/*');
}

/** Whether pages are wanted more than JSON, as a browser wants them. Who takes anything gets JSON. */
export const prefersHtml = (accept: string | undefined): boolean =>
  !isProgram(accept) && weightOf(accept, 'text/html') > weightOf(accept, 'application/json', 'application/*', '*/*');

/** Whether an `Accept` names JSON, and no pages. */
export const namesOnlyJson = (accept: string | undefined): boolean =>
  weightOf(accept, 'application/json') > 0 && weightOf(accept, 'text/html') === 0;
