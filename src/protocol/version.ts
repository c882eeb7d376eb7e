import { RelayError } from './errors.ts';

/** The WebSocket subprotocol, which is also the name and major version of the protocol (RFC 6455 §1.9). */
export const SUBPROTOCOL = 'relay.v1';

const MAJOR = 1;

/**
 * Whether a router speaks one of the versions of the protocol that a connector offers.
 * @param offered comma-separated, as in `relay.v1, relay.v2`; who offers nothing at all takes what there is.
 * @returns the refusal, which says which side has to be upgraded; undefined where they agree.
 */
export function checkProtocol(offered: string | undefined): RelayError | undefined {
  const words = (offered ?? '').split(',').map((word) => word.trim());
  if (words.every((word) => word === '') || words.includes(SUBPROTOCOL)) return undefined;
  const majors = words.map((word) => Number(/^relay\.v(\d{1,9})$/.exec(word)?.[1] ?? Number.NaN));
  const known = majors.filter((major) => !Number.isNaN(major));
  const isNewer = known.length > 0 && known.every((major) => major > MAJOR);
  const advice =
    known.length === 0
      ? 'is that a connector of relay?'
      : isNewer
        ? 'upgrade the router, or use a connector of its major version'
        : 'upgrade the connector';
  return new RelayError(
    'upgrade_required',
    `this router speaks ${SUBPROTOCOL}, and the connector offers ${words.join(', ').slice(0, 64)}: ${advice}`,
  );
}
