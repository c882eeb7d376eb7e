import type { Encoding } from '../http/coder.ts';
import { type LineRate, type Sent, TELLING_BYTES } from '../http/line-rate.ts';
import { RelayError } from '../protocol/errors.ts';
import { HEADER } from '../protocol/headers.ts';
import { newTally, tallyBody } from './coding/coded-body.ts';
import type { Agents } from './http/agents.ts';
import { explainObstacle, findObstacle, type Obstacle } from './http/obstacle.ts';
import { type BodyWriter, type Reply, send } from './http/send.ts';

/** How long a store may stand still, in ms: it is tried a few times, and an app waits for the outcome. */
const SILENCE_MS = 20_000;

/** RFC 9110 §15.5.12. */
const LENGTH_REQUIRED = 411;

/** What became of one PUT. */
export type PutOutcome =
  | { readonly kind: 'stored'; readonly etag: string | undefined }
  /** The URL is no longer good; a new one may be. */
  | { readonly kind: 'expired'; readonly error: RelayError }
  /** Something on the way did not let it through; a shorter one may pass. */
  | { readonly kind: 'blocked'; readonly obstacle: Obstacle; readonly error: RelayError }
  /** Something on the way takes no body without its length, and so none that is coded. */
  | { readonly kind: 'unmeasured' }
  /** Trying again may help. */
  | { readonly kind: 'failed'; readonly error: RelayError }
  /** Trying again will not. */
  | { readonly kind: 'refused'; readonly error: RelayError };

/** One PUT to the object store. */
export interface Put {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of the content before any coding, in bytes. */
  readonly length: number;
  /** Of the content on the way. Default: none. */
  readonly encoding?: Encoding | undefined;
  readonly body: BodyWriter;
  /** Counts all that goes out. */
  readonly line: LineRate;
  /** Told how a body went that was stored. */
  readonly onStored?: ((sent: Sent) => void) | undefined;
}

/**
 * PUTs a body under a signed URL, once.
 * @throws what the body's writer threw; the signal's reason when it aborts.
 */
export async function putObject(agents: Agents, put: Put, signal: AbortSignal): Promise<PutOutcome> {
  const { encoding, line, onStored } = put;
  const tally = newTally();
  let ownError: unknown;
  try {
    const reply = await send(agents, {
      method: 'PUT',
      url: new URL(put.url),
      headers: {
        ...put.headers,
        ...(encoding === undefined
          ? { 'Content-Length': String(put.length) }
          : { 'Content-Encoding': encoding.coding, [HEADER.plainLength]: String(put.length) }),
      },
      body: tallyBody(put.body, { encoding, tally, line }),
      signal,
      silenceMs: SILENCE_MS,
      beforeCut: (error) => {
        ownError = error;
        return Promise.resolve();
      },
    });
    if (encoding !== undefined && reply.status === LENGTH_REQUIRED) return { kind: 'unmeasured' };
    const outcome = classify(reply);
    // A short one says nothing, whatever went beside it.
    if (outcome.kind === 'stored' && tally.bytes >= TELLING_BYTES)
      onStored?.({ bytes: tally.lineBytes, madeMs: tally.madeMs, ms: performance.now() - tally.begunAt });
    return outcome;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (ownError !== undefined) throw ownError;
    return { kind: 'failed', error: unavailable(`the store cannot be reached: ${(error as Error).message}`) };
  }
}

function classify(reply: Reply): PutOutcome {
  const { status } = reply;
  if (status >= 200 && status < 300) return { kind: 'stored', etag: reply.headers.etag };
  const text = `the store answered HTTP ${status}${describe(reply)}`;
  const obstacle = findObstacle(reply);
  if (obstacle !== undefined)
    return { kind: 'blocked', obstacle, error: unavailable(`${text}: ${explainObstacle(obstacle)}`) };
  if (status === 507) return { kind: 'refused', error: new RelayError('store_full', text) };
  if (status === 403) return { kind: 'expired', error: unavailable(text) };
  const mayPass = status >= 500 || status === 429;
  return { kind: mayPass ? 'failed' : 'refused', error: unavailable(text) };
}

const unavailable = (message: string): RelayError => new RelayError('store_unavailable', message);

/** The store's own code: `<Code>` of S3's XML, or `code` of a problem document. */
function describe({ body }: Reply): string {
  const code = /<Code>([\w.]{1,64})<\/Code>|"code"\s*:\s*"([\w.]{1,64})"/.exec(body.toString('latin1'));
  return code === null ? '' : ` (${code[1] ?? code[2]})`;
}
