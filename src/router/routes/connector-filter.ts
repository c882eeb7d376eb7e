import type { ConnectorInfo } from '../../protocol/app.ts';
import { RelayError } from '../../protocol/errors.ts';

/** Which connectors a listing shows. */
interface ConnectorFilter {
  matches(connector: ConnectorInfo): boolean;
}

/**
 * Reads `label=KEY=VALUE`, which may be repeated and has to match every time, and `state=online|offline`.
 * @throws {RelayError} invalid_request when one of them is neither.
 */
export function readConnectorFilter(query: URLSearchParams): ConnectorFilter {
  const labels = query.getAll('label').map((label) => readLabel(label));
  const state = query.get('state');
  if (state !== null && state !== 'online' && state !== 'offline') {
    throw new RelayError('invalid_request', 'state must be online or offline');
  }
  return {
    matches: (connector) =>
      (state === null || connector.state === state) &&
      labels.every(([key, value]) => Object.hasOwn(connector.labels, key) && connector.labels[key] === value),
  };
}

function readLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new RelayError('invalid_request', 'label must be KEY=VALUE');
  return [text.slice(0, at), text.slice(at + 1)];
}
