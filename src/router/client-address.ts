import type { IncomingMessage } from 'node:http';
import { normalizeAddress } from '../http/address-range.ts';
import type { ForwardingReader } from './forwarding.ts';

/** The address of the client itself: of the peer, or of whom trusted proxies passed a request on for. */
export const clientAddress = (
  request: Pick<IncomingMessage, 'headers' | 'socket'>,
  forwarding: ForwardingReader,
): string => forwarding.read(request).address;

/** Who sent a request, for logs: `address:port`, or the client's address and the proxy that it came by. */
export function describeClient(
  request: Pick<IncomingMessage, 'headers' | 'socket'>,
  forwarding: ForwardingReader,
): string {
  const { remoteAddress = '', remotePort } = request.socket;
  const peer = normalizeAddress(remoteAddress) ?? remoteAddress;
  const client = clientAddress(request, forwarding);
  const port = `${peer.includes(':') ? `[${peer}]` : peer}:${remotePort}`;
  return client === peer ? port : `${client} by ${port}`;
}
