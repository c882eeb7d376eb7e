import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/**
 * Serves an empty page at `/`, and files by the paths they are given under. Every name of loopback is another origin.
 * It ends with the scope.
 */
export async function servePage(
  files: Readonly<Record<string, string>> = {},
): Promise<AsyncDisposable & { readonly origin: string; readonly otherOrigin: string }> {
  const server = createServer(({ url = '/' }, response) => {
    const file = files[url];
    if (url === '/') response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>A page</title>');
    else if (file === undefined) response.writeHead(404).end();
    else createReadStream(file).pipe(response.setHeader('Content-Type', TYPES[extname(file)] ?? 'text/plain'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    origin: `http://127.0.0.1:${port}`,
    otherOrigin: `http://localhost:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
