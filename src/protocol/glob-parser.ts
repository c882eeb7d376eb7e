import { RelayError } from './errors.ts';
import { MAX_GLOB_ALTERNATIVES } from './limits.ts';

/** One character of a part: itself, any, a class of them, or any number of any. */
export type GlobToken =
  | { readonly kind: 'literal'; readonly code: number }
  | { readonly kind: 'any' | 'star' }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly (readonly [number, number])[] };

const ANY: GlobToken = { kind: 'any' };
const STAR: GlobToken = { kind: 'star' };

/**
 * Reads a glob into the alternatives that its braces come to. A brace without its counterpart or without a comma, and a
 * bracket that is not closed, are themselves.
 * @throws {RelayError} invalid_request when there are too many.
 */
export const parseGlob = (text: string): GlobToken[][] => new Parser(text).parse();

/** What a glob comes to that has one alternative, of characters that are themselves; undefined for any other. */
export const parseLiteral = (text: string): string | undefined => new Parser(text).parseLiteral();

class Parser {
  readonly #characters: readonly string[];
  /** For each brace that has its counterpart and a comma in between, where it closes. */
  readonly #closing = new Map<number, number>();
  /** For each comma, the brace that it belongs to. */
  readonly #commas = new Map<number, number>();
  #at = 0;

  constructor(text: string) {
    this.#characters = Array.from(text);
    this.#pairBraces();
  }

  parse(): GlobToken[][] {
    return this.#sequence(undefined);
  }

  parseLiteral(): string | undefined {
    if (this.#closing.size > 0) return undefined;
    let text = '';
    for (const token of this.#sequence(undefined)[0] ?? []) {
      if (token.kind !== 'literal') return undefined;
      text += String.fromCodePoint(token.code);
    }
    return text;
  }

  #pairBraces(): void {
    const open: { readonly at: number; hasComma: boolean }[] = [];
    for (let at = 0; at < this.#characters.length; at++) {
      const character = this.#characters[at];
      const innermost = open.at(-1);
      if (character === '\\') at++;
      else if (character === '[') at = this.#classEnd(at) ?? at;
      else if (character === '{') open.push({ at, hasComma: false });
      else if (character === ',' && innermost !== undefined) {
        innermost.hasComma = true;
        this.#commas.set(at, innermost.at);
      } else if (character === '}' && innermost !== undefined) {
        open.pop();
        if (innermost.hasComma) this.#closing.set(innermost.at, at);
      }
    }
  }

  /** @param brace where the one opened that this is an alternative of. */
  #sequence(brace: number | undefined): GlobToken[][] {
    let alternatives: GlobToken[][] = [[]];
    const end = brace === undefined ? this.#characters.length : (this.#closing.get(brace) as number);
    const isOver = (): boolean => this.#at >= end || (brace !== undefined && this.#commas.get(this.#at) === brace);
    while (!isOver()) {
      if (this.#closing.has(this.#at)) alternatives = multiply(alternatives, this.#group());
      else {
        const token = this.#token();
        for (const alternative of alternatives) alternative.push(token);
      }
    }
    return alternatives;
  }

  #group(): GlobToken[][] {
    const brace = this.#at;
    const end = this.#closing.get(brace) as number;
    const alternatives: GlobToken[][] = [];
    while (this.#at < end) {
      this.#at++;
      alternatives.push(...this.#sequence(brace));
      checkCount(alternatives.length);
    }
    this.#at = end + 1;
    return alternatives;
  }

  #token(): GlobToken {
    const character = this.#characters[this.#at++] as string;
    if (character === '*') return STAR;
    if (character === '?') return ANY;
    if (character === '\\' && this.#at < this.#characters.length)
      return literal(this.#characters[this.#at++] as string);
    const end = character === '[' ? this.#classEnd(this.#at - 1) : undefined;
    if (end === undefined) return literal(character);
    const token = readClass(this.#characters.slice(this.#at, end));
    this.#at = end + 1;
    return token;
  }

  /** Where a class that begins there ends; its first character may be a `]`. */
  #classEnd(start: number): number | undefined {
    const isNegated = /[!^]/.test(this.#characters[start + 1] ?? '');
    const end = this.#characters.indexOf(']', start + (isNegated ? 3 : 2));
    return end < 0 ? undefined : end;
  }
}

function multiply(before: readonly GlobToken[][], after: readonly GlobToken[][]): GlobToken[][] {
  checkCount(before.length * after.length);
  return before.flatMap((one) => after.map((other) => [...one, ...other]));
}

function checkCount(count: number): void {
  if (count <= MAX_GLOB_ALTERNATIVES) return;
  throw new RelayError('invalid_request', `glob: its braces come to more than ${MAX_GLOB_ALTERNATIVES} alternatives`);
}

const literal = (character: string): GlobToken => ({ kind: 'literal', code: character.codePointAt(0) as number });

function readClass(characters: readonly string[]): GlobToken {
  const negated = /[!^]/.test(characters[0] ?? '');
  const codes = characters.slice(negated ? 1 : 0).map((character) => character.codePointAt(0) as number);
  const ranges: [number, number][] = [];
  const hyphen = '-'.charCodeAt(0);
  for (let at = 0; at < codes.length; at++) {
    const from = codes[at] as number;
    const to = codes[at + 2];
    if (codes[at + 1] === hyphen && to !== undefined) {
      ranges.push([from, to]);
      at += 2;
    } else ranges.push([from, from]);
  }
  return { kind: 'class', negated, ranges };
}
