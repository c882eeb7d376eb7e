import type { Result } from '../protocol/answers.ts';
import { readFailure } from '../protocol/answers.ts';
import { RelayError } from '../protocol/errors.ts';
import type { InlineResult } from '../protocol/inline.ts';
import type { Decoded } from '../protocol/codec.ts';
import type { Access } from './access/access.ts';
import type { Grant } from './access/grant.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Exchange } from './exchange.ts';
import type { Link } from './links/link.ts';
import type { Transfer } from './transfer.ts';

/**
 * Takes in what a POST answers a command with as a whole, bytes or JSON. What is wrong with it ends the exchange, since its
 * app must not wait for a better one: a node that answers nonsense does so again. One beside a result that was taken changes
 * nothing.
 * @throws {RelayError} what is wrong with it, for the node.
 */
export async function takePosted<T>(exchange: Exchange, take: () => Promise<T>): Promise<T> {
  try {
    return await take();
  } catch (thrown) {
    if (!exchange.hasResult) exchange.fail(toFailure(thrown));
    throw thrown;
  }
}

/**
 * Ends the exchange that a result is for which cannot be read, where it waits for one and this connector was asked. For all
 * others nothing happens: whoever sends it hears what is wrong with it, and of no request.
 */
export function failUnreadable(
  { dispatcher, access }: InlineResultsOptions,
  grant: Grant,
  id: string,
  error: RelayError,
): void {
  const exchange = dispatcher.findLive(id);
  if (exchange === undefined) return;
  try {
    access.requireAsked(grant, exchange);
  } catch {
    return;
  }
  failUnlessTaken(exchange, error);
}

/** A second result changes nothing, whatever it is. */
function failUnlessTaken(exchange: Exchange, error: RelayError): void {
  if (exchange.hasResult || exchange.posts?.underWay.has('result') === true) return;
  exchange.fail(toFailure(error));
}

/**
 * Hands a JSON result to the exchange that it is for.
 * @returns the next offset, where it was bytes.
 * @throws {RelayError} invalid_request when it is no answer to what was asked; what the pattern throws.
 */
export async function takeResult(exchange: Exchange, result: Result): Promise<number | undefined> {
  const failure = readFailure(result);
  if (failure !== undefined) {
    exchange.failByConnector(failure);
  } else if (result.data !== undefined) {
    const { etag, digest, content_type, last_modified, current_size } = result;
    const meta = { etag, digest, contentType: content_type, lastModified: last_modified, currentSize: current_size };
    return transferOf(exchange).takeWhole(decodeData(result.data, result.encoding), meta);
  } else {
    await exchange.takeResult(result);
  }
  return undefined;
}

/** @throws {RelayError} invalid_request for a command that is not answered with bytes. */
export function transferOf(exchange: Exchange): Transfer {
  const { transfer } = exchange.answer;
  if (transfer === undefined) throw new RelayError('invalid_request', `a ${exchange.name} is not answered with bytes`);
  return transfer;
}

/**
 * The bytes in a JSON body.
 * @throws {RelayError} invalid_request when the text is not what it says: what would be changed silently is refused.
 */
export function decodeData(data: string, encoding: 'utf8' | 'base64'): Buffer {
  if (encoding === 'utf8') {
    if (!data.isWellFormed())
      throw new RelayError('invalid_request', 'field data: has characters that UTF-8 cannot carry; use base64');
    return Buffer.from(data, 'utf8');
  }
  const bytes = Buffer.from(data, 'base64');
  // Node skips what is not base64, so what it made must account for every character.
  const unpadded = data.endsWith('==') ? data.length - 2 : data.endsWith('=') ? data.length - 1 : data.length;
  if (bytes.length !== Math.floor((unpadded * 3) / 4) || !/^[A-Za-z0-9+/]*={0,2}$/.test(data)) {
    throw new RelayError('invalid_request', 'field data: is not base64 (RFC 4648 §4)');
  }
  return bytes;
}

interface InlineResultsOptions {
  readonly dispatcher: Dispatcher;
  readonly access: Access;
}

/**
 * Takes in the results that come over links. Nothing is said in reply, so what is wrong with one fails its exchange; where
 * one is lost with its link, its command is sent again.
 */
export class InlineResults {
  readonly #options: InlineResultsOptions;

  constructor(options: InlineResultsOptions) {
    this.#options = options;
  }

  /** @returns whether it was asked for, of the connector whose link it is, and did not come before. */
  take({ hello: { mac, grant } }: Link, decoded: Decoded<InlineResult>): boolean {
    const { dispatcher, access } = this.#options;
    const id = decoded.ok ? idOf(decoded.value) : decoded.error.details.request_id;
    if (id === undefined) return false;
    const exchange = dispatcher.findLive(id);
    if (exchange === undefined) return dispatcher.expectsLate(id, mac);
    if (exchange.mac !== mac) return false;
    try {
      access.requireAsked(grant, exchange);
    } catch {
      return false;
    }
    if (decoded.ok) takeInline(exchange, decoded.value).catch((error: unknown) => exchange.fail(toFailure(error)));
    else failUnlessTaken(exchange, decoded.error);
    return true;
  }
}

const idOf = (answer: InlineResult): string =>
  answer.kind === 'bytes' ? answer.head.request_id : answer.result.request_id;

async function takeInline(exchange: Exchange, answer: InlineResult): Promise<number | undefined> {
  if (answer.kind === 'result') return takeResult(exchange, answer.result);
  const { total_size, current_size, offset, etag, digest, content_type, last_modified } = answer.head;
  const { buffer, byteOffset, length } = answer.bytes;
  return transferOf(exchange).takeWhole(
    Buffer.from(buffer, byteOffset, length),
    {
      totalSize: total_size,
      currentSize: current_size,
      etag,
      digest,
      contentType: content_type,
      lastModified: last_modified,
    },
    offset,
  );
}

/** What a result that cannot be taken means to the app: it asked for nothing that is wrong. */
function toFailure(thrown: unknown): RelayError {
  const error = RelayError.from(thrown);
  if (error.code !== 'invalid_request' && error.code !== 'offset_mismatch') return error;
  return new RelayError('connector_failed', `the connector gave an unusable answer: ${error.message}`);
}
