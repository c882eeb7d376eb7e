import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Calls back once a request's connection stands, TLS included; a tunnel stands when the request gets it. */
export function onceConnected(socket: Socket, callback: () => void): void {
  if (isConnected(socket)) callback();
  else socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', callback);
}

/** Whether the socket is through its handshakes. */
const isConnected = (socket: Socket): boolean =>
  socket instanceof TLSSocket ? socket.getFinished() !== undefined : !socket.connecting;
