/** The WebSocket subprotocol, which is also the name and major version of the protocol (RFC 6455 §1.9). */
export const SUBPROTOCOL = 'relay.v1';

/** The major version that both ends of a link must share. */
export const PROTOCOL_MAJOR = 1;
