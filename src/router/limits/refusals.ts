import { LogThrottle } from '../../observability/log-throttle.ts';
import type { Logger } from '../../observability/logger.ts';

const WORDS = {
  connections: 'the router has as many connections as it may (--max-connections)',
  connections_per_address:
    'an address has as many connections as it may (--max-connections-per-address); is it a proxy or a NAT?',
  handshake_timeout: 'a TLS handshake took too long',
  headers_timeout: 'the head of a request took too long',
  header_size: 'the head of a request was too large',
  requests: 'the router has as many requests as it may (--max-requests)',
  requests_per_client: 'a client has as many requests as it may (--max-requests-per-client)',
  requests_per_connector: 'a connector has as many requests as it may (--max-requests-per-connector)',
  posts: 'connectors send as many bodies at once as they may',
  body_size: 'a JSON body was too large',
  body_timeout: 'a body came too slowly',
  memory: 'there is no memory for another body (--buffer-total, --body-total)',
  links_per_connector: 'a connector opens its link too often',
  link_flood: 'a connector floods its link',
  link_unread: 'a connector does not read its link',
} as const;

/** Why something was refused for a limit: the label of `relay_refused_total`. */
export type RefusalReason = keyof typeof WORDS;

/** Counts what is refused for a limit, and logs it without letting whoever causes it fill the log. */
export class Refusals {
  readonly #logger: Logger;
  readonly #count: (reason: RefusalReason) => void;
  readonly #throttle = new LogThrottle();

  /** @param count told of each, for the metrics. */
  constructor(logger: Logger, count: (reason: RefusalReason) => void) {
    this.#logger = logger;
    this.#count = count;
  }

  /** Notes one. The log has the first of each reason, and then one in ten seconds with how many it left out. */
  note(reason: RefusalReason, facts: Readonly<Record<string, unknown>> = {}): void {
    this.#count(reason);
    const left = this.#throttle.take(reason);
    if (left !== undefined) this.#logger.warn({ reason, ...facts, ...left }, WORDS[reason]);
  }
}
