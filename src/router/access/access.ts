import type { IncomingMessage } from 'node:http';
import type { Logger } from '../../observability/logger.ts';
import { RelayError } from '../../protocol/errors.ts';
import { TOKEN_ROLES, type TokenRole } from '../../protocol/token.ts';
import type { Exchange } from '../exchange.ts';
import type { Cors } from './cors.ts';
import { isAmbient, readCredential } from './credential.ts';
import { type AuthFailure, AuthFailures } from './failures.ts';
import { Grant } from './grant.ts';
import { requireLocal } from './local-only.ts';
import { requireOwnSite } from './own-site.ts';
import { fingerprintOf, type TokenFault, TokenVerifier, type Verdict } from './token.ts';
import { type SignedDataset, UrlSigner } from './url-signer.ts';

/**
 * What an endpoint is for, and so who may use it: `public` and `signed` (by its URL) everybody, `app` and `connector` those
 * roles, `answer` connectors that answer a command, `listing` apps and monitors, `metrics` monitors, `any` all of them.
 */
export type Scope = 'public' | 'signed' | 'app' | 'listing' | 'metrics' | 'connector' | 'answer' | 'any';

/** What is for holders of a token. */
type GuardedScope = Exclude<Scope, 'public' | 'signed'>;

/** Whose token each of them takes. */
export const ROLES_OF: Readonly<Record<GuardedScope, readonly TokenRole[]>> = {
  app: ['app'],
  listing: ['app', 'monitor'],
  metrics: ['monitor'],
  connector: ['connector'],
  answer: ['connector'],
  any: TOKEN_ROLES,
};

export interface AccessOptions {
  /** The secrets that tokens are verified with; undefined where the router asks for none. */
  readonly secrets: (() => readonly string[]) | undefined;
  /** Lifts the checks that keep a router without tokens on loopback. */
  readonly allowNoAuth: boolean;
  /** Which pages of other origins may ask. */
  readonly cors: Cors;
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
  /** Signs URLs of datasets; undefined where the router asks for no tokens. */
  readonly signer: UrlSigner | undefined;
  readonly #failures: AuthFailures;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#verifier = options.secrets && new TokenVerifier(options.secrets);
    this.signer = options.secrets && new UrlSigner(options.secrets);
    this.#failures = new AuthFailures(options.logger, options.countFailure);
  }

  /**
   * What whoever made the request may do. Answers at once where no signature has to be computed.
   * @throws {RelayError} unauthorized without a token that is good; too_many_requests where the address presented too many
   * that are not; forbidden when it is for another role, when a web page
   * of another origin or site asks, and, without tokens, for what did not come straight from this machine.
   */
  admit(request: IncomingMessage, scope: Scope): Grant | Promise<Grant> {
    this.#checkSource(request, scope);
    if (this.#verifier === undefined || scope === 'public' || scope === 'signed') return Grant.everything;
    const token = readCredential(request.headers.authorization);
    if (token === undefined) {
      this.#failures.noteMissing();
      throw new RelayError('unauthorized', WORDS.missing);
    }
    const verifier = this.#verifier;
    const known = token === null ? MALFORMED : verifier.recall(token);
    if (known?.ok) return admit(scope, known);
    const check = (): Verdict | Promise<Verdict> => known ?? verifier.check(token as string);
    const asked = scope === 'answer' && token !== null ? this.#options.findAsked(fingerprintOf(token)) : undefined;
    return asked === undefined ? this.#vet(request, scope, check) : admitAsked(asked, scope, check);
  }

  /**
   * What whoever holds a signed URL of one dataset may do: read that dataset, without a token.
   * @returns undefined where the URL is not signed, or the router signs none.
   * @throws {RelayError} forbidden when it was not signed here; url_expired; forbidden as {@link admit} says.
   */
  admitUrl(request: IncomingMessage, signed: () => SignedDataset, query: URLSearchParams): Grant | undefined {
    if (this.signer === undefined || !UrlSigner.isSigned(query)) return undefined;
    this.#checkSource(request, 'signed');
    const { mac, dataset } = signed();
    const exp = this.signer.verify({ mac, dataset }, query, new Date());
    return Grant.ofUrl(mac, dataset, exp);
  }

  /**
   * What a browser is told that asks on behalf of a page whether this may be asked at all, for which nobody has a token yet;
   * undefined where it is no such question, or not of a page that may ask.
   * @throws {RelayError} forbidden, without tokens, for what did not come straight from this machine.
   */
  answerPreflight(request: IncomingMessage): Readonly<Record<string, string>> | undefined {
    this.#requireReach(request);
    return this.#options.cors.preflight(request);
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

  async #vet(request: IncomingMessage, scope: GuardedScope, check: () => Verdict | Promise<Verdict>): Promise<Grant> {
    const verdict = await this.#failures.vet(this.#options.addressOf(request), check);
    if (!verdict.ok) throw new RelayError('unauthorized', WORDS[verdict.fault]);
    return admit(scope, verdict);
  }

  #requireReach(request: IncomingMessage): void {
    if (this.#verifier === undefined && !this.#options.allowNoAuth) requireLocal(request);
  }

  #checkSource(request: IncomingMessage, scope: Scope): void {
    this.#requireReach(request);
    if (request.headers.origin === undefined) requireOwnSite(request, scope);
    else this.#checkOrigin(request, scope);
  }

  #checkOrigin(request: IncomingMessage, scope: Scope): void {
    const { origin = '', host, authorization } = request.headers;
    if (origin === this.#options.originOf(request)) return;
    // The page of a router with a public URL may also have been opened by the address that it listens on.
    if (origin === `${'encrypted' in request.socket ? 'https' : 'http'}://${host}`) return;
    const { cors } = this.#options;
    // A page asks for datasets, as an app does. It is no node.
    if (scope === 'connector' || scope === 'answer' || !cors.allows(origin)) {
      throw new RelayError('forbidden', `requests from the web origin ${JSON.stringify(origin)} are not allowed`);
    }
    if (!cors.names(origin) && isAmbient(authorization)) {
      throw new RelayError(
        'forbidden',
        `pages of ${JSON.stringify(origin)} have to send their token as Bearer: a password may be what the browser remembers`,
      );
    }
  }
}

function admit(scope: GuardedScope, { claims, keyId, fingerprint }: Verdict & { ok: true }): Grant {
  const { role } = claims;
  if (!ROLES_OF[scope].includes(role)) {
    const wanted = ROLES_OF[scope].join(' or ');
    throw new RelayError('forbidden', `the token is for the role ${role}, and this endpoint is for ${wanted}`);
  }
  return Grant.of(claims, keyId, fingerprint);
}

/** Admits a token that opened a link by which something was asked. It was good once, so it is no guess. */
async function admitAsked(asked: Grant, scope: GuardedScope, check: () => Verdict | Promise<Verdict>): Promise<Grant> {
  const verdict = await check();
  return verdict.ok ? admit(scope, verdict) : asked.lapsed(verdict.fault);
}

const MALFORMED: Verdict = { ok: false, fault: 'malformed' };

const WORDS: Readonly<Record<TokenFault | 'missing', string>> = {
  missing:
    'this router asks for a token, and the request carries none (Authorization: Bearer …, or HTTP Basic with the token as the password)',
  malformed: 'the credential is no token of relay',
  signature: 'the token was not made with a secret of this router',
  expired: 'the token has expired',
  not_yet_valid: 'the token is not valid yet; one of the two clocks may be wrong',
};
