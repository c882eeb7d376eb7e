import { RelayError } from './errors.ts';
import { parseGlob, parseLiteral, type GlobToken as Token } from './glob-parser.ts';
import { MAX_GLOB_LENGTH } from './limits.ts';

/** What one part between slashes has to be; `**` stands for any number of parts. */
type Part = '**' | readonly Token[];

const SLASH = '/'.charCodeAt(0);

/**
 * A pattern for names of datasets. `*` is any number of characters, but no slash; a part that is `**` any number of parts; `?`
 * one character; `[a-z]` one of several, `[!a-z]` any other; `{csv,txt}` either; `\` takes the meaning of what follows.
 * All else is itself, a dot at the beginning as well, and a name that is the glob letter by letter matches. It never takes longer than name and glob are long, multiplied: whoever
 * asks for a listing writes the glob, and a regular expression could be made to take for ever.
 */
export class Glob {
  readonly #text: string;
  readonly #alternatives: readonly (readonly Part[])[];
  /** The directory that all names that match are in, with its slash; empty where that cannot be told. */
  readonly base: string;

  /** @throws {RelayError} invalid_request when it is empty, too long, or its braces come to too many alternatives. */
  constructor(text: string) {
    if (text === '') throw new RelayError('invalid_request', 'glob: it is empty');
    if (text.length > MAX_GLOB_LENGTH)
      throw new RelayError('invalid_request', `glob: it is longer than ${MAX_GLOB_LENGTH} characters`);
    this.#text = text.normalize('NFC');
    this.#alternatives = parseGlob(this.#text).map(splitParts);
    const base = this.#alternatives.length === 1 ? literalBase(this.#alternatives[0] ?? []) : '';
    this.base = this.#text.startsWith(base) ? base : '';
  }

  /** Whether a name matches, in whichever form its letters are composed. */
  matches(name: string): boolean {
    const normal = name.normalize('NFC');
    if (normal === this.#text) return true;
    const parts = normal.split('/');
    return this.#alternatives.some((pattern) => advance(pattern, parts).has(pattern.length));
  }

  /** Whether a name below a directory could match. @param directory with its slash; empty for the uppermost. */
  mayMatchBelow(directory: string): boolean {
    const normal = directory.normalize('NFC');
    if (this.#text.startsWith(normal)) return true;
    const parts = normal.split('/').slice(0, -1);
    return this.#alternatives.some((pattern) => [...advance(pattern, parts)].some((at) => at < pattern.length));
  }
}

/** A backslash before what would have a meaning without it. */
const ESCAPE = /\\[*?[\]{},]/;

/**
 * The one name that a text means which may be a name or a glob: itself, or what is left of it without the backslashes, where
 * one of them takes the meaning of something.
 * @returns undefined where it is a glob. A dataset may have it as its name all the same.
 */
export function readLiteralName(text: string): string | undefined {
  const literal = parseLiteral(text);
  return literal === undefined || ESCAPE.test(text) ? literal : text;
}

/** The places in a pattern at which one may be after these parts, its end among them. */
function advance(pattern: readonly Part[], parts: readonly string[]): ReadonlySet<number> {
  let places = new Set<number>();
  enter(places, pattern, 0);
  for (const text of parts) {
    const next = new Set<number>();
    for (const at of places) {
      const part = pattern[at];
      if (part === undefined) continue;
      if (part === '**') {
        enter(next, pattern, at);
        next.add(at + 1);
        enter(next, pattern, at + 1);
      } else if (matchesPart(part, text)) enter(next, pattern, at + 1);
    }
    places = next;
    if (places.size === 0) break;
  }
  return places;
}

/** Adds a place, and those that a `**` lets through without a part. The last one stands for one part at least. */
function enter(places: Set<number>, pattern: readonly Part[], from: number): void {
  let at = from;
  places.add(at);
  while (pattern[at] === '**' && at < pattern.length - 1) places.add(++at);
}

/** Goes back to the last star alone, which is enough, since the one before can take nothing that this one could not. */
function matchesPart(tokens: readonly Token[], text: string): boolean {
  let at = 0;
  let read = 0;
  let star = -1;
  let resume = 0;
  while (read < text.length) {
    const token = tokens[at];
    const code = text.codePointAt(read) as number;
    if (token?.kind === 'star') {
      star = at++;
      resume = read;
    } else if (token !== undefined && fits(token, code)) {
      at++;
      read += widthOf(code);
    } else if (star >= 0) {
      at = star + 1;
      resume += widthOf(text.codePointAt(resume) as number);
      read = resume;
    } else return false;
  }
  while (tokens[at]?.kind === 'star') at++;
  return at === tokens.length;
}

const widthOf = (code: number): number => (code > 0xff_ff ? 2 : 1);

function fits(token: Token, code: number): boolean {
  if (token.kind === 'literal') return token.code === code;
  if (token.kind === 'class') return token.ranges.some(([from, to]) => code >= from && code <= to) !== token.negated;
  return true;
}

function splitParts(tokens: readonly Token[]): readonly Part[] {
  const parts: Token[][] = [[]];
  for (const token of tokens) {
    if (token.kind === 'literal' && token.code === SLASH) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts.map((part) => (part.length > 1 && part.every(({ kind }) => kind === 'star') ? '**' : part));
}

function literalBase(parts: readonly Part[]): string {
  let base = '';
  for (const part of parts.slice(0, -1)) {
    if (part === '**' || !part.every((token) => token.kind === 'literal')) break;
    base += `${String.fromCodePoint(...part.map((token) => (token as { code: number }).code))}/`;
  }
  return base;
}
