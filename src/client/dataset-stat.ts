import * as z from 'zod';
import { fromProblem } from '../http/problem.ts';
import { decodeJson } from '../protocol/codec.ts';
import { encodeDatasetPath } from '../protocol/dataset-name.ts';
import type { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { readContentLength, readTime } from './content.ts';
import type { CallOptions } from './call-options.ts';
import { type AgeOptions, requireMinAge, toMinAge } from './min-age.ts';
import type { Transport } from './transport.ts';

/** What is known of a dataset without its bytes. A connector that cannot say leaves a member undefined. */
export interface DatasetStat {
  /** In bytes. */
  readonly size?: number | undefined;
  /** Strong entity tag, with its quotes. */
  readonly etag?: string | undefined;
  readonly lastModified?: Date | undefined;
  readonly contentType?: string | undefined;
  /** Whether parts of it can be asked for. */
  readonly acceptsRanges: boolean;
}

/** `HEAD` of a dataset as an HTTP resource. */
export async function statDataset(
  transport: Transport,
  mac: string,
  dataset: string,
  { signal, minAgeMs }: CallOptions & AgeOptions,
): Promise<DatasetStat> {
  const path = `connectors/${mac}/datasets/${encodeDatasetPath(dataset)}`;
  const query = toMinAge({ minAgeMs });
  const response = await transport.exchange({ method: 'HEAD', path, query, signal });
  if (!response.ok) throw await readHeadError(transport, response, signal);
  await requireMinAge(response, query);
  const { headers } = response;
  return {
    size: readContentLength(headers),
    etag: headers.get('ETag') ?? undefined,
    lastModified: readTime(headers.get('Last-Modified')),
    contentType: headers.get('Content-Type') ?? undefined,
    acceptsRanges: headers.get('Accept-Ranges') === 'bytes',
  };
}

/** An answer to HEAD has no body to give its reason in, so a router of relay's gives it in a header. */
async function readHeadError(
  transport: Transport,
  response: Response,
  signal: AbortSignal | undefined,
): Promise<RelayError> {
  const problem = decodeJson(z.unknown(), response.headers.get(HEADER.problem) ?? 'null');
  return (problem.ok ? fromProblem(problem.value) : undefined) ?? transport.readError(response, signal);
}
