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

/** The TCP socket that carries this one; itself where it is one. */
export const rawSocketOf = (socket: Socket): Socket => rawSockets.get(socket) ?? socket;

/**
 * Says a last thing on a connection that no HTTP server looks after any more, and ends it a little later, whether or not the
 * peer reads it or ends its own side.
 */
export function endWith(socket: Socket, text: string): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', () => socket.destroySoon());
  socket.on('error', () => {});
  socket.resume();
  socket.end(text);
}

/**
 * Cuts a connection with RST in place of FIN, so that what was sent on it does not look whole. A TLS socket follows its TCP
 * socket by itself, a little later.
 */
export function resetConnection(socket: Socket): void {
  const raw = rawSocketOf(socket);
  // Destroying the TLS socket here too would crash the process when called from one of its own callbacks (Node 26).
  if (raw.destroyed) return;
  // One that is being ended cannot be reset (libuv), and an attempt would leave it open for ever.
  if (raw.writableEnded) raw.destroy();
  else raw.resetAndDestroy();
}

/** Ends the connection of a request that was answered before its body had come, a little later than at once. */
export function closeAfterEarlyAnswer(request: IncomingMessage): void {
  request.on('error', () => {});
  request.resume();
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS);
  request.socket.once('close', () => clearTimeout(timer));
}
