import { fromProblem } from '../../http/problem.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { Reply } from './send.ts';

/** The JSON of a reply; undefined where it has none. */
export function parseReply({ body }: Reply): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

/**
 * The error that the router's reply stands for; undefined for a success. A reply that is none of the router's own, because
 * something in between gave it, is `transfer_interrupted` and says so.
 */
export function toReplyError(reply: Reply): RelayError | undefined {
  const { status } = reply;
  if (status >= 200 && status < 300) return undefined;
  const error = fromProblem(parseReply(reply));
  if (error !== undefined) return error;
  const hint = HINTS[status] ?? 'something between the connector and the router gave this answer';
  return new RelayError('transfer_interrupted', `the router's side answered HTTP ${status}: ${hint}`, {
    details: { retryable: isPassing(status) },
  });
}

/** Whether a status speaks of a state that may soon be over (RFC 9110 §15.6). */
export const isPassing = (status: number): boolean => status === 502 || status === 503 || status === 504;

const HINTS: Readonly<Record<number, string>> = {
  301: 'the router has another address',
  302: 'the router has another address',
  307: 'the router has another address',
  308: 'the router has another address',
  404: 'no router answers at this address and path prefix',
  413: 'a proxy in between limits the size of request bodies; raise its limit',
  502: 'a proxy in between does not reach the router',
  503: 'a proxy in between does not reach the router',
  504: 'a proxy in between waited too long for the router',
};
