import type { ErrorCode } from '../../protocol/errors.ts';
import type { QueryParameter, RequestHeader, ResponseHeader } from './parameters.ts';
import type { JsonSchema, SchemaName } from './schemas.ts';

/** What a body may be: its media types, each with the name of its schema or the schema itself. */
export type Content = Readonly<Record<string, SchemaName | JsonSchema>>;

/** Any bytes. */
export const BYTES: JsonSchema = {};

/** One answer of an endpoint that is no error. */
export interface Answer {
  readonly description: string;
  readonly content?: Content;
  readonly headers?: readonly ResponseHeader[];
}

/** What the description of the interface says of an endpoint; method, path and who may use it are its route's. */
export interface Operation {
  /** Its name in programs that are made from the description; never changed once it was given. */
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  readonly query?: readonly QueryParameter[];
  readonly headers?: readonly RequestHeader[];
  readonly body?: { readonly content: Content; readonly optional?: true };
  /** By status. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** The codes that it may fail with, beside those of every endpoint. */
  readonly errors?: readonly ErrorCode[];
}

/** The operations of a group of endpoints, by method and path as their routes have them. */
export type Operations = Readonly<Record<string, Operation>>;
