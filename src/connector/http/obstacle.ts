import { fromProblem } from '../../http/problem.ts';
import { parseReply } from './reply-error.ts';
import type { Reply } from './send.ts';

/**
 * What something between here and the other side does to a body that is too long for it.
 *
 * - `too_large`: refuses it (413).
 * - `too_slow`: does not wait for its end (408).
 * - `held`: collects it before it passes it on.
 */
export type Obstacle = 'too_large' | 'too_slow' | 'held';

const BY_STATUS: Readonly<Record<number, Obstacle>> = { 408: 'too_slow', 413: 'too_large' };

/** The obstacle that a reply stands for; undefined where it is relay's own, or about something else. */
export function findObstacle(reply: Reply): Obstacle | undefined {
  const obstacle = BY_STATUS[reply.status];
  return obstacle === undefined || fromProblem(parseReply(reply)) !== undefined ? undefined : obstacle;
}

const WORDS: Readonly<Record<Obstacle, string>> = {
  too_large:
    'a proxy in between refuses long bodies (HTTP 413); raise its limit: client_max_body_size in nginx, ' +
    'max_size of request_body in Caddy, LimitRequestBody in Apache',
  too_slow:
    'a proxy in between does not wait for the end of long bodies (HTTP 408); give it more time: client_body_timeout in ' +
    'nginx, read_body of timeouts in Caddy, RequestReadTimeout in Apache',
  held:
    'a proxy in between collects bodies before it passes them on; have it pass them on at once: ' +
    'proxy_request_buffering off in nginx, no request_buffers in Caddy, no option http-buffer-request in HAProxy',
};

/** What is in the way, and which setting to change. */
export const explainObstacle = (obstacle: Obstacle): string => WORDS[obstacle];
