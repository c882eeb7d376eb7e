import { RelayError } from './errors.ts';
import { Glob } from './glob.ts';
import { parseGlob } from './glob-parser.ts';

const ESCAPED = String.raw`\\[*?[\]{}()|"+@!^$,]`;
const RANGE = '(?:[a-z0-9_.]|a-z|A-Z|0-9|[A-Z])';
const CLASS = String.raw`\[${RANGE}+\]`;
/** Without `..`, which is a range elsewhere. */
const INSIDE = String.raw`(?:(?!\.\.)[^\\*?[\]{}()|",/+$^]|${ESCAPED}|[*?])+`;
const BRACES = String.raw`\{${INSIDE}(?:,${INSIDE})+\}`;
/** A piece of a part: a letter, a wildcard, a class or alternatives. */
const PIECE = new RegExp(String.raw`[^\\*?[\]{}()|"+$^]|${ESCAPED}|[*?]|${CLASS}|${BRACES}`, 'uy');

const BRACKET = 'a class has letters, digits, _, . and the ranges a-z, A-Z and 0-9 in it, and is not negated';
const REASONS: Readonly<Record<string, string>> = {
  '[': BRACKET,
  ']': BRACKET,
  '{': 'braces have two alternatives or more, none of them empty, without a slash, braces or classes in them',
  '}': 'braces have two alternatives or more, none of them empty, without a slash, braces or classes in them',
  '\\': String.raw`a backslash stands before one of * ? [ ] { } ( ) | " + @ ! ^ $ ,`,
};

/**
 * Why a glob cannot be given to a new token; undefined where it can. What tokens may have is a part of what `Glob` reads: that
 * which picomatch, by which tokens were read before, takes for the same, so that no token covers more than whoever issued it
 * meant. (Three things differ all the same: `**` covers names with a line break, `?` takes any character for one, however it is
 * encoded, and `[ab]*` does not cover names that begin with these four letters.) Patterns such as `@(a|b)` and `+(a)` are not read by `Glob`, since matching them takes a machine of its own to be
 * through in bounded time; alternatives are written in braces, or as several globs.
 */
export function findTokenGlobProblem(text: string): string | undefined {
  if (!text.isWellFormed() || text.includes('\0')) return 'it is not valid Unicode';
  try {
    void new Glob(text);
  } catch (error) {
    return RelayError.from(error).message;
  }
  for (const part of text.split('/')) {
    if (part === '' || part === '.' || part === '..') return 'no name has parts that are empty, . or ..';
    const problem = part === '**' ? undefined : findPartProblem(part);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function findPartProblem(part: string): string | undefined {
  PIECE.lastIndex = 0;
  while (PIECE.lastIndex < part.length) {
    const at = PIECE.lastIndex;
    if (PIECE.test(part)) continue;
    const character = part[at] ?? '';
    const literally = character === '\\' ? '' : `; where it is a letter of a name, write \\${character}`;
    return `${character} cannot be read there${literally}${REASONS[character] === undefined ? '' : `: ${REASONS[character]}`}`;
  }
  const hasTwoStars = parseGlob(part).some((tokens) =>
    tokens.some(({ kind }, at) => kind === 'star' && tokens[at + 1]?.kind === 'star'),
  );
  return hasTwoStars
    ? '** is a whole part between slashes, and two stars beside each other are nothing else'
    : undefined;
}
