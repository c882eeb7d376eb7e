import { parseContentRange } from '../http/range.ts';
import { encodeDatasetPath } from '../protocol/dataset-name.ts';
import { RelayError } from '../protocol/errors.ts';
import type { OnChange } from '../protocol/fields.ts';
import { withinDeadline } from './deadline.ts';
import { type AgeOptions, requireMinAge, toMinAge } from './min-age.ts';
import type { Transport } from './transport.ts';

/** Which dataset a response is part of, and how it is asked for. */
export interface DatasetTarget {
  readonly transport: Transport;
  readonly mac: string;
  readonly dataset: string;
  readonly signal: AbortSignal | undefined;
  /** Default `fail`. */
  readonly onChange?: OnChange | undefined;
}

/** A part of a dataset, one version of it, and what else to say in the request. */
interface RangeOptions extends AgeOptions {
  /** First byte. */
  readonly start: number;
  /** The first byte after it; default the end of the dataset. */
  readonly end?: number | undefined;
  /** Strong entity tag that the dataset must have. */
  readonly etag: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** A response with a part of a dataset. */
export interface RangeResponse {
  readonly response: Response & { readonly body: ReadableStream<Uint8Array> };
  /** Size of the whole in bytes. */
  readonly size: number;
}

/**
 * Asks for a part of a dataset and resolves when it begins to come.
 * @returns undefined where it cannot be had by itself.
 * @throws {RelayError} dataset_changed when the dataset is another by now; and what the router answers.
 */
export async function openRange(
  { transport, mac, dataset, signal, onChange }: DatasetTarget,
  { start, end, etag, headers: more = {}, minAgeMs }: RangeOptions,
): Promise<RangeResponse | undefined> {
  const path = `connectors/${mac}/datasets/${encodeDatasetPath(dataset)}`;
  const query = { ...(onChange === 'prefix' && { on_change: onChange }), ...toMinAge({ minAgeMs }) };
  const headers = { Range: `bytes=${start}-${end === undefined ? '' : end - 1}`, 'If-Match': etag, ...more };
  const response = await withinDeadline(
    transport.stallTimeoutMs,
    signal,
    () => transport.noAnswer(),
    (limited) => transport.exchange({ method: 'GET', path, query, headers, signal: limited }),
  );
  await requireMinAge(response, query);
  if (response.status === 206) {
    const range = parseContentRange(response.headers.get('Content-Range') ?? '');
    const isAsked = range?.offset === start && (end === undefined || range.length === end - start);
    if (isAsked && hasBody(response)) return { response, size: range.size };
  } else if (!response.ok) {
    const error = await transport.readError(response, signal);
    if (error.code !== 'precondition_failed') throw error;
    throw new RelayError(
      'dataset_changed',
      'the dataset changed while it was being fetched; what has arrived is of no use',
      { cause: error, details: error.details },
    );
  }
  await response.body?.cancel();
  return undefined;
}

const hasBody = (response: Response): response is RangeResponse['response'] => response.body !== null;
