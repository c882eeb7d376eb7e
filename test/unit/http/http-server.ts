import http, { type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** A plain server on a free port that hands each request to the test. It ends with the scope. */
export interface TestServer extends AsyncDisposable {
  readonly port: number;
  /** The next request that came. */
  next(): Promise<IncomingMessage>;
  /** A raw connection to it. */
  dial(): Promise<Socket>;
}

export async function startServer(): Promise<TestServer> {
  const came: IncomingMessage[] = [];
  const wanted: ((message: IncomingMessage) => void)[] = [];
  const server = http.createServer((request) => {
    const take = wanted.shift();
    if (take === undefined) came.push(request);
    else take(request);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    next: () =>
      new Promise((resolve) => {
        const request = came.shift();
        if (request === undefined) wanted.push(resolve);
        else resolve(request);
      }),
    dial: () =>
      new Promise((resolve, reject) => {
        const socket = connect(port, '127.0.0.1', () => resolve(socket));
        socket.once('error', reject);
      }),
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
