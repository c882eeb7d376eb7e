import { createHash, randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { decodeValue } from '../../protocol/codec.ts';
import { type TokenClaims, tokenClaims } from '../../protocol/token.ts';
import { RecentMap } from '../../recent-map.ts';

/** The one algorithm: HMAC with SHA-256 (RFC 7518 §3.2). What a token says of its own algorithm decides nothing. */
const ALGORITHM = 'HS256';

/** Tokens are a few hundred bytes; what is longer is none. */
const MAX_TOKEN_LENGTH = 8192;

/** How many tokens are remembered as good at least, so that a request does not pay for its signature again. */
const REMEMBERED_TOKENS = 10_000;

/** Why a token is not taken. */
export type TokenFault = 'malformed' | 'signature' | 'expired' | 'not_yet_valid';

/** A token that is good, and which secret verified it. */
interface GoodToken {
  readonly claims: TokenClaims;
  readonly keyId: string;
  readonly fingerprint: string;
}

/** A token that was looked at. */
export type Verdict = ({ readonly ok: true } & GoodToken) | { readonly ok: false; readonly fault: TokenFault };

/** Makes a token (RFC 7519), signed with `secret`. `iat` and `jti` are added. */
export async function signToken(
  { role, macs, datasets, exp }: Omit<TokenClaims, 'iat' | 'jti' | 'nbf'>,
  secret: string,
): Promise<string> {
  const claims = { role, macs, ...(datasets !== undefined && { datasets }) };
  const token = new SignJWT(claims)
    .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT' })
    .setIssuedAt()
    .setJti(randomUUID());
  if (exp !== undefined) token.setExpirationTime(exp);
  return token.sign(Buffer.from(secret));
}

/** Tells good tokens from others, by the secrets that there are at the moment. */
export class TokenVerifier {
  readonly #readSecrets: () => readonly string[];
  readonly #remembered = new RecentMap<string, GoodToken>(REMEMBERED_TOKENS);
  #secrets: readonly string[] = [];
  #keys = new Map<string, Uint8Array>();

  /** @param readSecrets the secrets of now; asked before each token, so that a changed file counts at once. */
  constructor(readSecrets: () => readonly string[]) {
    this.#readSecrets = readSecrets;
    this.#refresh();
  }

  /** Whether a secret that once verified a token still does. */
  knows(keyId: string): boolean {
    this.#refresh();
    return this.#keys.has(keyId);
  }

  /** What is known of a token that was good before; undefined for any other. */
  recall(token: string): Verdict | undefined {
    this.#refresh();
    const known = this.#remembered.get(token);
    if (known === undefined) return undefined;
    if (isOver(known.claims)) {
      this.#remembered.delete(token);
      return { ok: false, fault: 'expired' };
    }
    return { ok: true, ...known };
  }

  /** Looks at a token, and remembers it where it is good. */
  async check(token: string): Promise<Verdict> {
    this.#refresh();
    if (token.length > MAX_TOKEN_LENGTH) return { ok: false, fault: 'malformed' };
    let fault: TokenFault = 'signature';
    for (const [keyId, key] of this.#keys) {
      try {
        const { payload } = await jwtVerify(token, key, { algorithms: [ALGORITHM] });
        const claims = decodeValue(tokenClaims, payload);
        if (!claims.ok) return { ok: false, fault: 'malformed' };
        const good = { claims: claims.value, keyId, fingerprint: fingerprintOf(token) };
        this.#remember(token, good);
        return { ok: true, ...good };
      } catch (error) {
        fault = faultOf(error);
        // Only another key can make a wrong signature right.
        if (fault !== 'signature') break;
      }
    }
    return { ok: false, fault };
  }

  #remember(token: string, known: GoodToken): void {
    // The secrets may have changed while the signature was computed.
    if (!this.#keys.has(known.keyId)) return;
    this.#remembered.set(token, known);
  }

  #refresh(): void {
    const secrets = this.#readSecrets();
    if (secrets === this.#secrets) return;
    this.#secrets = secrets;
    this.#keys = new Map(secrets.map((secret) => [idOf(secret), Buffer.from(secret)]));
    this.#remembered.clear();
  }
}

/** Tells tokens apart without keeping them. */
export const fingerprintOf = (token: string): string => createHash('sha256').update(token).digest('base64url');

/** Tells secrets apart without showing them. */
export const idOf = (secret: string): string =>
  createHash('sha256').update('relay key id\n').update(secret).digest('hex').slice(0, 16);

const isOver = ({ exp }: TokenClaims): boolean => exp !== undefined && exp <= Math.floor(Date.now() / 1000);

function faultOf(error: unknown): TokenFault {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf') return 'not_yet_valid';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature';
  return 'malformed';
}
