import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/** The TCP socket under a TLS one: only it can be reset. */
const rawSockets = new WeakMap<Socket, Socket>();

/** How long what a client is still sending is read and thrown away after an early answer, in ms, so that it gets to see it. */
const LINGER_MS = 1000;

/** Remembers which TCP socket carries a TLS one. */
export function rememberRawSocket(secure: Socket, raw: Socket): void {
  rawSockets.set(secure, raw);
}

/** Cuts a connection with RST in place of FIN, so that what was sent on it does not look whole. */
export function resetConnection(socket: Socket): void {
  const raw = rawSockets.get(socket) ?? socket;
  if (raw.destroyed) return;
  raw.resetAndDestroy();
  if (raw !== socket) socket.destroy();
}

/** Ends the connection of a request that was answered before its body had come, a little later than at once. */
export function closeAfterEarlyAnswer(request: IncomingMessage): void {
  request.on('error', () => {});
  request.resume();
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS);
  request.socket.once('close', () => clearTimeout(timer));
}
