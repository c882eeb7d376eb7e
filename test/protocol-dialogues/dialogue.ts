import { isUtf8 } from 'node:buffer';

/**
 * A recorded dialogue of one connector with a router: one step a line, in order. Strings that differ from run to run are
 * `{names}`: bound where the router says them first, and put in where the connector says them again; `{*}` is anything.
 */
export type Step =
  /** The connector opens its link. */
  | { readonly open: 'websocket' | 'sse'; readonly path: string; readonly headers: Headers }
  /** A command comes down the link. */
  | { readonly command: Json }
  /** The connector makes a request, of the router or of its store, and gets a reply. */
  | { readonly post: Message & { readonly method: string; readonly url: string }; reply?: Message & { status: number } }
  /** The connector says something on its link: JSON in a text message, or a line of it before the bytes of a binary one. */
  | { readonly say: { readonly json: Json; readonly bytes?: Body } }
  /** An app asks. */
  | { readonly ask: Message & { readonly method: string; readonly path: string } }
  /** It is answered. */
  | { readonly answer: Message & { readonly status: number } };

type Headers = Readonly<Record<string, string>>;
type Json = Readonly<Record<string, unknown>>;

export interface Message {
  readonly headers: Headers;
  readonly body?: Body;
}

/** A body as JSON, as text, in base64 where it is none, or, where it is that many zeros, by its length. */
type Body =
  | { readonly json: unknown }
  | { readonly text: string }
  | { readonly base64: string }
  | { readonly zeros: number };

/** A body as a dialogue writes it down. */
export function describeBody(bytes: Buffer, isJson: boolean): { body?: Body } {
  if (bytes.length === 0) return {};
  if (isJson) return { body: { json: JSON.parse(bytes.toString()) as unknown } };
  if (bytes.every((byte) => byte === 0)) return { body: { zeros: bytes.length } };
  return { body: isUtf8(bytes) ? { text: bytes.toString() } : { base64: bytes.toString('base64') } };
}

/** The bytes of a body. */
export function toBytes(body: Body | undefined, names: Names): Buffer {
  if (body === undefined) return Buffer.alloc(0);
  if ('zeros' in body) return Buffer.alloc(body.zeros);
  if ('base64' in body) return Buffer.from(body.base64, 'base64');
  return Buffer.from('text' in body ? body.text : JSON.stringify(names.fill(body.json)));
}

/** What the names of a dialogue stand for in this run. */
export class Names {
  readonly #values = new Map<string, string>();

  /** A value with every name replaced by what it stands for. */
  fill<T>(value: T): T {
    if (typeof value === 'string') {
      return value.replace(/\{(\w+)\}/g, (name, key: string) => this.#values.get(key) ?? name) as T;
    }
    if (Array.isArray(value)) return value.map((item: unknown) => this.fill(item)) as T;
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.fill(item as unknown)])) as T;
  }

  /**
   * Binds names that are new in `expected`, and gives it with all names filled in, `{*}` by what is there. What `actual` has
   * beyond it is left out: a connector of this version does not know it.
   */
  expect(expected: unknown, actual: unknown): { expected: unknown; actual: unknown } {
    if (typeof expected === 'string') {
      const name = /^\{(\w+)\}$/.exec(expected)?.[1];
      if (name !== undefined && !this.#values.has(name) && typeof actual === 'string') this.#values.set(name, actual);
      return { expected: expected === '{*}' ? actual : this.fill(expected), actual };
    }
    if (typeof expected !== 'object' || expected === null) return { expected, actual };
    const found = Object(actual) as Record<string, unknown>;
    const pairs = Object.entries(expected).map(([key, item]) => [key, this.expect(item, found[key])] as const);
    return {
      expected: Object.fromEntries(pairs.map(([key, pair]) => [key, pair.expected])),
      actual: Object.fromEntries(pairs.filter(([key]) => key in found).map(([key, pair]) => [key, pair.actual])),
    };
  }
}
