import type { IncomingMessage } from 'node:http';
import { parseCapabilities } from '../../protocol/capabilities.ts';
import { HEADER } from '../../protocol/headers.ts';
import type { Mac } from '../../protocol/mac.ts';
import { checkProtocol } from '../../protocol/version.ts';
import type { Grant } from '../access/grant.ts';
import type { Hello } from './link.ts';

const MAX_LABELS = 64;

/**
 * Reads what a connector says of itself from the request that opens its link. What is malformed is left out.
 * @param about.remote who sent it, for logs.
 * @throws {RelayError} upgrade_required when it speaks only other versions of the protocol, by whichever way it says so.
 */
export function readHello(
  request: IncomingMessage,
  {
    mac,
    query,
    baseUrl,
    remote,
    grant,
  }: { mac: Mac; query: URLSearchParams; baseUrl: string; remote: string; grant: Grant },
): Hello {
  const header = (name: string): string | null => {
    const value = request.headers[name.toLowerCase()];
    return typeof value === 'string' && value !== '' ? value.slice(0, 4096) : null;
  };
  const subprotocols = request.headers['sec-websocket-protocol'];
  const refusal =
    checkProtocol(subprotocols) ?? checkProtocol(header(HEADER.protocol) ?? query.get('protocol') ?? undefined);
  if (refusal !== undefined) throw refusal;
  return {
    mac,
    capabilities: parseCapabilities(header(HEADER.capabilities) ?? query.get('capabilities')),
    version: header(HEADER.version)?.slice(0, 64) ?? null,
    name: decode(header(HEADER.name)),
    labels: parseLabels(header(HEADER.labels)),
    instance: header(HEADER.instance)?.slice(0, 64) ?? null,
    remote,
    baseUrl,
    grant,
  };
}

function parseLabels(field: string | null): Record<string, string> {
  const labels: Record<string, string> = Object.create(null);
  for (const pair of (field ?? '').split(',').slice(0, MAX_LABELS)) {
    const [key, value] = pair.trim().split('=', 2).map(decode);
    if (key && value !== undefined && value !== null) labels[key] = value;
  }
  return { ...labels };
}

function decode(text: string | null): string | null {
  try {
    return text === null ? null : decodeURIComponent(text);
  } catch {
    return null;
  }
}
