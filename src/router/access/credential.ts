/**
 * The token in an `Authorization` header: a Bearer token (RFC 6750 §2.1), or the password of Basic (RFC 7617) for programs
 * that know nothing else.
 * @returns undefined where there is no header; null where it holds neither.
 */
export function readCredential(authorization: string | undefined): string | undefined | null {
  if (authorization === undefined) return undefined;
  const [, scheme = '', rest = ''] = /^([A-Za-z]+) +(\S+) *$/.exec(authorization) ?? [];
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return rest;
    case 'basic': {
      const pair = Buffer.from(rest, 'base64').toString('utf8');
      const at = pair.indexOf(':');
      return at < 0 || at === pair.length - 1 ? null : pair.slice(at + 1);
    }
    default:
      return null;
  }
}

/** Whether a browser may have sent this without the page knowing it: it remembers the passwords of Basic. */
export const isAmbient = (authorization: string | undefined): boolean => /^basic /i.test(authorization ?? '');

/** The challenges of a 401 (RFC 9110 §11.6.1), a header each: browsers do not take them apart. */
export const CHALLENGES = ['Bearer realm="relay"', 'Basic realm="relay", charset="UTF-8"'] as const;
