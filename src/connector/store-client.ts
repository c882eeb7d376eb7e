import { RelayError } from '../protocol/errors.ts';
import type { Agents } from './http/agents.ts';
import { explainObstacle, findObstacle, type Obstacle } from './http/obstacle.ts';
import { type BodyWriter, type Reply, send } from './http/send.ts';

/** How long a store may stand still, in ms: it is tried a few times, and an app waits for the outcome. */
const SILENCE_MS = 20_000;

/** What became of one PUT. */
export type PutOutcome =
  | { readonly kind: 'stored'; readonly etag: string | undefined }
  /** The URL is no longer good; a new one may be. */
  | { readonly kind: 'expired'; readonly error: RelayError }
  /** Something on the way did not let it through; a shorter one may pass. */
  | { readonly kind: 'blocked'; readonly obstacle: Obstacle; readonly error: RelayError }
  /** Trying again may help. */
  | { readonly kind: 'failed'; readonly error: RelayError }
  /** Trying again will not. */
  | { readonly kind: 'refused'; readonly error: RelayError };

/** One PUT to the object store. */
export interface Put {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** In bytes. */
  readonly length: number;
  readonly body: BodyWriter;
}

/**
 * PUTs a body under a signed URL, once.
 * @throws what the body's writer threw; the signal's reason when it aborts.
 */
export async function putObject(agents: Agents, put: Put, signal: AbortSignal): Promise<PutOutcome> {
  let ownError: unknown;
  try {
    const reply = await send(agents, {
      method: 'PUT',
      url: new URL(put.url),
      headers: { ...put.headers, 'Content-Length': String(put.length) },
      body: put.body,
      signal,
      silenceMs: SILENCE_MS,
      beforeCut: (error) => {
        ownError = error;
        return Promise.resolve();
      },
    });
    return classify(reply);
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
