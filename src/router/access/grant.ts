import picomatch from 'picomatch';
import type { DatasetName } from '../../protocol/dataset-name.ts';
import { RelayError } from '../../protocol/errors.ts';
import { Glob } from '../../protocol/glob.ts';
import type { Mac } from '../../protocol/mac.ts';
import { directoryOf } from '../../protocol/name-filter.ts';
import { ANY_MAC, type TokenClaims, type TokenRole } from '../../protocol/token.ts';
import { findTokenGlobProblem } from '../../protocol/token-glob.ts';
import type { TokenFault } from './token.ts';

/** What whoever made a request may do: what the token says, or everything where the router asks for none. */
export class Grant {
  /** Everything: the router asks for no tokens, and whoever reaches it is trusted. */
  static readonly everything = new Grant();

  readonly #claims: TokenClaims | undefined;
  readonly #matches: ((name: string) => boolean) | undefined;
  readonly #globs: readonly string[] | undefined;
  /** Which secret verified the token. */
  readonly keyId: string | undefined;
  /** Tells the token from others. */
  readonly fingerprint: string | undefined;
  /** Why the token is no longer good: then it only answers what was asked by a link that it opened. */
  readonly lapse: TokenFault | undefined;

  private constructor(
    claims?: TokenClaims,
    keyId?: string,
    fingerprint?: string,
    lapse?: TokenFault,
    matches?: (name: string) => boolean,
  ) {
    this.#claims = claims;
    this.keyId = keyId;
    this.fingerprint = fingerprint;
    this.lapse = lapse;
    // An app reads datasets, so its token must say which; a monitor's may narrow the names that it sees.
    const globs = claims?.datasets ?? (claims?.role === 'app' ? [] : undefined);
    this.#globs = globs;
    this.#matches = matches ?? (globs && compileGlobs(globs));
  }

  /** What a verified token grants. */
  static of(claims: TokenClaims, keyId: string, fingerprint?: string): Grant {
    return new Grant(claims, keyId, fingerprint);
  }

  /** One dataset, for whoever holds a URL that was signed for it. @param exp when the URL ends, in seconds since 1970. */
  static ofUrl(mac: Mac, dataset: DatasetName, exp: number): Grant {
    const normal = dataset.normalize('NFC');
    return new Grant({ role: 'app', macs: [mac], exp }, undefined, undefined, undefined, (name) => name === normal);
  }

  /** What is left of it now that its token is no longer good. */
  lapsed(fault: TokenFault): Grant {
    return new Grant(this.#claims, this.keyId, this.fingerprint, fault);
  }

  /** What the token's holder is; undefined where there are no tokens. */
  get role(): TokenRole | undefined {
    return this.#claims?.role;
  }

  /** The token's own id, for logs. */
  get tokenId(): string | undefined {
    return this.#claims?.jti;
  }

  /** Whether it is that of a signed URL, whose holder can ask for its dataset and for nothing else. */
  get isOfUrl(): boolean {
    return this.#claims !== undefined && this.keyId === undefined;
  }

  /** When the token or the signed URL expires, in ms since 1970; undefined for never. */
  get expiresAt(): number | undefined {
    return this.#claims?.exp === undefined ? undefined : this.#claims.exp * 1000;
  }

  coversMac(mac: Mac): boolean {
    const macs = this.#claims?.macs;
    return macs === undefined || macs.includes(ANY_MAC) || macs.includes(mac);
  }

  /** Whether a dataset's name is covered, in whichever form its letters are composed. */
  coversDataset(dataset: string): boolean {
    return this.#matches === undefined || this.#matches(dataset.normalize('NFC'));
  }

  /** Whether all datasets whose names begin with this are covered; false also where that cannot be told. */
  coversAllBelow(prefix: string): boolean {
    if (this.#matches === undefined) return true;
    return this.#globs?.some((glob) => glob.endsWith('**') && isBelow(prefix, glob.slice(0, -2))) ?? false;
  }

  /** The directory that all datasets are in that are covered, with its slash; empty where that cannot be told. */
  get base(): string {
    const [first = '', ...others] = this.#globs?.map((glob) => LITERAL_DIRECTORY.exec(glob)?.[0] ?? '') ?? [];
    return others.reduce((common, base) => {
      let end = 0;
      while (end < common.length && common[end] === base[end]) end++;
      return directoryOf(common.slice(0, end));
    }, first);
  }

  /** @throws {RelayError} unauthorized, url_expired when what was granted has ended since it was admitted. */
  requireTime(): void {
    if (this.expiresAt === undefined || this.expiresAt > Date.now()) return;
    if (this.isOfUrl) throw urlExpired(new Date(this.expiresAt));
    throw new RelayError('unauthorized', 'the token has expired');
  }

  /** @throws {RelayError} forbidden when the token does not cover this connector. */
  requireMac(mac: Mac): void {
    if (!this.coversMac(mac)) throw new RelayError('forbidden', `the token does not cover the connector ${mac}`);
  }

  /** @throws {RelayError} forbidden when the token does not cover this dataset of this connector. */
  requireDataset(mac: Mac, dataset: DatasetName): void {
    this.requireMac(mac);
    if (!this.coversDataset(dataset))
      throw new RelayError('forbidden', `the token does not cover ${JSON.stringify(dataset)} of ${mac}`);
  }
}

/** For a signed URL after its time. Whoever holds it cannot sign another. */
export const urlExpired = (endsAt: Date): RelayError =>
  new RelayError('url_expired', `the URL expired at ${endsAt.toISOString()}: ask who made it for a new one`, {
    details: { retryable: false },
  });

/** The directory at the beginning of a glob, of letters that mean themselves there and in no other spelling. */
const LITERAL_DIRECTORY = /^(?:(?!K)[\w-](?:(?!K)[\w. -])*\/)+/;

/** Whether a prefix lies in a directory that a glob begins with, or is it. */
const isBelow = (prefix: string, directory: string): boolean =>
  directory === '' || (LITERAL_DIRECTORY.exec(directory)?.[0] === directory && prefix.startsWith(directory));

function compileGlobs(globs: readonly string[]): (name: string) => boolean {
  const matchers = globs.map((glob) => compileGlob(glob.normalize('NFC')));
  return (name) => matchers.some((matches) => matches(name));
}

/** What new tokens cannot have keeps the meaning that it had in older ones, which knew more, and no more than that. */
function compileGlob(text: string): (name: string) => boolean {
  if (findTokenGlobProblem(text) !== undefined) {
    // The same on every platform; a name that begins with a dot or an exclamation mark is a name like any other.
    return picomatch(text, { dot: true, nonegate: true, windows: false, strictSlashes: true });
  }
  const glob = new Glob(text);
  return (name) => glob.matches(name);
}
