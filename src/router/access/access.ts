import type { IncomingMessage } from 'node:http';
import type { Logger } from '../../observability/logger.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { TokenRole } from '../../protocol/token.ts';
import type { Exchange } from '../exchange.ts';
import { readCredential } from './credential.ts';
import { type AuthFailure, AuthFailures } from './failures.ts';
import { Grant } from './grant.ts';
import { requireLocal } from './local-only.ts';
import { fingerprintOf, type TokenFault, TokenVerifier } from './token.ts';

/**
 * What an endpoint is for, and so who may use it: `public` and `signed` (by its URL) everybody, `app` and `connector` those
 * roles, `answer` connectors that answer a command, `listing` apps and monitors, `metrics` monitors.
 */
export type Scope = 'public' | 'signed' | 'app' | 'listing' | 'metrics' | 'connector' | 'answer';

const ROLES_OF: Readonly<Record<Exclude<Scope, 'public' | 'signed'>, readonly TokenRole[]>> = {
  app: ['app'],
  listing: ['app', 'monitor'],
  metrics: ['monitor'],
  connector: ['connector'],
  answer: ['connector'],
};

export interface AccessOptions {
  /** The secrets that tokens are verified with; undefined where the router asks for none. */
  readonly secrets: (() => readonly string[]) | undefined;
  /** Lifts the checks that keep a router without tokens on loopback. */
  readonly allowNoAuth: boolean;
  /** The router's own origin, as whoever made this request knows it. */
  readonly originOf: (request: IncomingMessage) => string;
  /** The address of whoever made this request. */
  readonly addressOf: (request: IncomingMessage) => string;
  /** What a token granted that opened a link by which something was asked, by the token's fingerprint. */
  readonly findAsked: (fingerprint: string) => Grant | undefined;
  readonly countFailure: (reason: AuthFailure) => void;
  readonly logger: Logger;
}

/** The one place that every request passes before anything is done for it, upgrades included. */
export class Access {
  readonly #options: AccessOptions;
  readonly #verifier: TokenVerifier | undefined;
  readonly #failures: AuthFailures;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#verifier = options.secrets && new TokenVerifier(options.secrets);
    this.#failures = new AuthFailures(options.logger, options.countFailure);
  }

  /**
   * What whoever made the request may do. Answers at once where no signature has to be computed.
   * @throws {RelayError} unauthorized without a token that is good; forbidden when it is for another role, when a web page
   * of another origin asks, and, without tokens, for what did not come straight from this machine.
   */
  admit(request: IncomingMessage, scope: Scope): Grant | Promise<Grant> {
    if (this.#verifier === undefined && !this.#options.allowNoAuth) requireLocal(request);
    this.#checkOrigin(request);
    if (this.#verifier === undefined || scope === 'public' || scope === 'signed') return Grant.everything;
    const token = readCredential(request.headers.authorization);
    if (token === undefined) {
      this.#failures.noteMissing();
      throw new RelayError('unauthorized', WORDS.missing);
    }
    if (token === null) return this.#refuse(request, 'malformed');
    const verdict = this.#verifier.verify(token);
    return verdict instanceof Promise
      ? verdict.then((late) => this.#admit(request, scope, token, late))
      : this.#admit(request, scope, token, verdict);
  }

  /**
   * Lets a connector answer a command. One whose token was good when its link was asked may finish, whatever became of the
   * token since.
   * @throws {RelayError} forbidden when another connector was asked; unauthorized when the token is no longer good, and
   * opened none of the links by which this was asked.
   */
  requireAsked(grant: Grant, { mac, askedBy }: Pick<Exchange, 'mac' | 'askedBy'>): void {
    grant.requireMac(mac);
    const { lapse, fingerprint } = grant;
    if (lapse !== undefined && !askedBy.has(fingerprint as string)) throw new RelayError('unauthorized', WORDS[lapse]);
  }

  /** Whether what was granted still holds: its token has not expired, and its secret is still one of the router's. */
  stillHolds({ keyId, expiresAt }: Pick<Grant, 'keyId' | 'expiresAt'>): boolean {
    if (keyId === undefined) return true;
    return (this.#verifier?.knows(keyId) ?? false) && (expiresAt === undefined || expiresAt > Date.now());
  }

  /** Notes that a request was forbidden, for the log and the metrics. */
  noteForbidden(request: IncomingMessage, grant: Grant | undefined): void {
    const facts = { role: grant?.role, token_id: grant?.tokenId, path: request.url?.split('?', 1)[0] };
    this.#failures.noteForbidden(this.#options.addressOf(request), facts);
  }

  /** Lets go those whose answers are held back. */
  close(): void {
    this.#failures.close();
  }

  #admit(
    request: IncomingMessage,
    scope: keyof typeof ROLES_OF,
    token: string,
    verdict: Awaited<ReturnType<TokenVerifier['verify']>>,
  ): Grant | Promise<Grant> {
    if (!verdict.ok) {
      const { fault } = verdict;
      const canLapse = scope === 'answer' && (fault === 'expired' || fault === 'signature');
      const asked = canLapse ? this.#options.findAsked(fingerprintOf(token)) : undefined;
      return asked?.lapsed(fault) ?? this.#refuse(request, fault);
    }
    const { role } = verdict.claims;
    if (!ROLES_OF[scope].includes(role)) {
      const wanted = ROLES_OF[scope].join(' or ');
      throw new RelayError('forbidden', `the token is for the role ${role}, and this endpoint is for ${wanted}`);
    }
    return Grant.of(verdict.claims, verdict.keyId, verdict.fingerprint);
  }

  async #refuse(request: IncomingMessage, fault: TokenFault): Promise<never> {
    await this.#failures.note(this.#options.addressOf(request), fault);
    throw new RelayError('unauthorized', WORDS[fault]);
  }

  #checkOrigin(request: IncomingMessage): void {
    const { origin, host } = request.headers;
    if (origin === undefined || origin === this.#options.originOf(request)) return;
    // The page of a router with a public URL may also have been opened by the address that it listens on.
    if (origin !== `${'encrypted' in request.socket ? 'https' : 'http'}://${host}`) {
      throw new RelayError('forbidden', `requests from the web origin ${JSON.stringify(origin)} are not allowed`);
    }
  }
}

const WORDS: Readonly<Record<Exclude<AuthFailure, 'forbidden'>, string>> = {
  missing:
    'this router asks for a token, and the request carries none (Authorization: Bearer …, or HTTP Basic with the token as the password)',
  malformed: 'the credential is no token of relay',
  signature: 'the token was not made with a secret of this router',
  expired: 'the token has expired',
  not_yet_valid: 'the token is not valid yet; one of the two clocks may be wrong',
};
