/** The WebSocket subprotocol, which is also the name and major version of the protocol (RFC 6455 §1.9). */
export const SUBPROTOCOL = 'relay.v1';
