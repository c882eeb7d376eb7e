import type { Context } from '../context.ts';
import type { UrlHolder } from '../request-log.ts';
import type { Call } from './route.ts';

/**
 * Whom a URL of the store is for that a call is answered with. Asked after all waiting, since time passes meanwhile.
 * @throws {RelayError} unauthorized, url_expired when what the call was made with has ended since.
 */
export function holderOf({ baseUrl }: Context, { request, grant }: Pick<Call, 'request' | 'grant'>): UrlHolder {
  grant.requireTime();
  return { baseUrl: baseUrl.of(request), until: grant.expiresAt };
}
