import { decodeJwt } from 'jose';
import { findClearReceiver } from '../http/loopback.ts';
import type { ChooseProxy } from '../http/proxy/choose-proxy.ts';
import type { Logger } from '../observability/logger.ts';
import { RelayError } from '../protocol/errors.ts';
import type { Clock } from './clock.ts';

/** From how long before its end a token is warned of, how often, and how often it is looked at, in ms. */
const WARN_BEFORE_MS = 7 * 24 * 3_600_000;
const WARN_EVERY_MS = 24 * 3_600_000;
const LOOK_EVERY_MS = 3_600_000;

interface AuthorizationOptions {
  readonly routerUrl: URL;
  /** The token as it is now. */
  readonly token?: (() => string) | undefined;
  /** Lets the token travel in the clear. */
  readonly allowHttp: boolean;
  /** The proxy by which the router is reached. */
  readonly chooseProxy?: ChooseProxy | undefined;
}

/** How a connector shows the router who it is. */
export class Authorization {
  readonly #readToken: (() => string) | undefined;
  #shown: string | undefined;

  /** @throws {RelayError} usage when the token would travel in the clear to another machine. */
  constructor({ routerUrl, token, allowHttp, chooseProxy }: AuthorizationOptions) {
    const receiver = findClearReceiver(routerUrl, chooseProxy?.(routerUrl));
    if (token !== undefined && !allowHttp && receiver !== undefined) {
      throw new RelayError(
        'usage',
        `the token would travel unencrypted to ${receiver}: use https, or say --allow-http where the way is safe`,
      );
    }
    this.#readToken = token;
  }

  /** The headers to send with each request to the router, and to nobody else. */
  headers(): Record<string, string> {
    const token = this.#readToken?.();
    this.#shown = token;
    return token === undefined ? {} : { Authorization: `Bearer ${token}` };
  }

  /** Whether there is another token by now than the one shown last, so that a refusal of that one says nothing. */
  hasNewToken(): boolean {
    return this.#readToken !== undefined && this.#readToken() !== this.#shown;
  }

  /** Warns while the token is about to expire. Resolves when the signal aborts. */
  async watchExpiry(logger: Logger, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.#readToken === undefined) return;
    for (let warnedAt = Number.NEGATIVE_INFINITY; !signal.aborted; ) {
      const expiresAt = readExpiry(this.#readToken());
      const leftMs = expiresAt - Date.now();
      if (leftMs < WARN_BEFORE_MS && clock.now() - warnedAt >= WARN_EVERY_MS) {
        warnedAt = clock.now();
        logger.warn(
          { token_expires_at: new Date(expiresAt).toISOString() },
          leftMs > 0
            ? 'the token expires soon; put a new one into its place'
            : "the token has expired, by this machine's clock; put a new one into its place",
        );
      }
      await clock.sleep(LOOK_EVERY_MS, signal).catch(() => {});
    }
  }
}

/** When a token says that it expires, in ms since 1970. Nothing is verified: that is the router's part. */
function readExpiry(token: string): number {
  try {
    const { exp } = decodeJwt(token);
    return exp === undefined ? Number.POSITIVE_INFINITY : exp * 1000;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
