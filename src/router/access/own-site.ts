import type { IncomingMessage } from 'node:http';
import { RelayError } from '../../protocol/errors.ts';
import type { Scope } from './access.ts';

/**
 * Keeps web pages of other sites from asking where a browser names no `Origin`, as for an image or a `no-cors` GET, which
 * would be enough to take a connector's link. Programs send no `Sec-Fetch-Site` (W3C Fetch Metadata §2.3).
 * @throws {RelayError} forbidden for what another site's page began, unless somebody goes to what an app may read.
 */
export function requireOwnSite(request: IncomingMessage, scope: Scope): void {
  const site = request.headers['sec-fetch-site'];
  if (site !== 'cross-site' && site !== 'same-site') return;
  // Health tells nothing and does nothing, and a signed URL is its own credential, wherever it is put.
  if (scope === 'public') return;
  if (isRead(request) && (scope === 'signed' || (scope !== 'connector' && isNavigation(request)))) return;
  throw new RelayError('forbidden', `requests from pages of other web sites are not allowed (Sec-Fetch-Site: ${site})`);
}

const isRead = ({ method }: IncomingMessage): boolean => method === 'GET' || method === 'HEAD';

/** Whether a browser's window goes there, as by a link, so that the page it comes from sees nothing of the answer. */
const isNavigation = ({ headers }: IncomingMessage): boolean =>
  headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
