import type { Socket } from 'node:net';
import type { buildConnector, Dispatcher } from 'undici';

/**
 * The responses that are being read. undici holds its parser back while a reader is slow, and judges the end of a connection
 * without letting it go on: a response whose last byte came just before counts as broken off, and one on a connection that
 * was to end (`Connection: close`, or no length) ends the process by an assertion. So all of them go on when a connection
 * ends; those of other connections are held back again by their next piece.
 */
export class OpenResponses {
  readonly #open = new Set<Dispatcher.DispatchController>();

  /** Knows a response from its request on until it is over. */
  follow(handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler {
    return {
      onRequestStart: (controller, context) => {
        this.#open.add(controller);
        handler.onRequestStart?.(controller, context);
      },
      onRequestUpgrade: (...args) => handler.onRequestUpgrade?.(...args),
      onResponseStart: (...args) => handler.onResponseStart?.(...args),
      onResponseData: (controller, piece) => {
        // A parser that goes on at the end may say that nothing came, and would be held back again for it.
        if (piece.length > 0) handler.onResponseData?.(controller, piece);
      },
      onResponseEnd: (controller, trailers) => {
        this.#open.delete(controller);
        handler.onResponseEnd?.(controller, trailers);
      },
      onResponseError: (controller, error) => {
        this.#open.delete(controller);
        handler.onResponseError?.(controller, error);
      },
    };
  }

  /** Looks after the connections that are opened so. Its listeners have to be the first. */
  watch(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) =>
      connect(options, (...opened) => {
        const [error, socket] = opened;
        // What failed comes without a second value, whatever its type says.
        if (error === null) this.#watchSocket(socket);
        callback(...opened);
      });
  }

  #watchSocket(socket: Socket): void {
    socket.on('end', () => {
      for (const controller of this.#open) if (controller.paused) controller.resume();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Where a connection was to end, undici takes a reset for its end: it ends the process where the parser is held back,
      // and what has no length would look whole.
      if (error.code === 'ECONNRESET') error.code = 'UND_ERR_SOCKET';
    });
  }
}
