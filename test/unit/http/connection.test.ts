import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { closeAfterEarlyAnswer, rememberRawSocket, resetConnection } from '../../../src/http/connection.ts';
import { startServer } from './http-server.ts';

let directory: string;
let certificate: { cert: Buffer; key: Buffer };

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'relay-tls-'));
  const [key, cert] = [path.join(directory, 'key.pem'), path.join(directory, 'cert.pem')];
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost',
    '-keyout',
    key,
    '-out',
    cert,
  ]);
  certificate = { cert: await readFile(cert), key: await readFile(key) };
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What a peer sees of the end of a connection: the code of its error, or `FIN`. */
function endOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'an error'));
    socket.once('end', () => resolve('FIN'));
    socket.resume();
  });
}

describe('a connection that is reset', () => {
  test('ends with RST at the peer of a plain socket', async () => {
    const server = createServer();
    const port = await listen(server);
    const accepted = once(server, 'connection');
    const client = connect(port, '127.0.0.1');
    const ended = endOf(client);
    const [socket] = (await accepted) as [Socket];
    resetConnection(socket);
    expect(await ended).toBe('ECONNRESET');
    expect(socket.destroyed).toBe(true);
    resetConnection(socket);
    client.destroy();
    server.close();
    await once(server, 'close');
  });

  test('is closed also when its end is just under way', async () => {
    const server = createServer({ allowHalfOpen: true });
    const port = await listen(server);
    const accepted = once(server, 'connection');
    const client = connect(port, '127.0.0.1');
    const [socket] = (await accepted) as [Socket];
    socket.end();
    // The system was asked to end it by then, and has not said that it did.
    await new Promise<void>((resolve) => {
      process.nextTick(() => process.nextTick(resolve));
    });
    const closed = new Promise((resolve) => {
      socket.once('error', resolve);
      socket.once('close', () => resolve('closed'));
    });
    resetConnection(socket);
    expect(await closed).toBe('closed');
    client.destroy();
    server.close();
    await once(server, 'close');
  });

  test('ends with RST at the peer of a TLS socket, also when it is cut from within its own events', async () => {
    const server = tls.createServer(certificate);
    let raw: Socket | undefined;
    server.on('connection', (socket: Socket) => {
      raw = socket;
    });
    const port = await listen(server);
    // Many times, since what goes wrong here goes wrong only now and then.
    for (let round = 0; round < 100; round++) {
      const cut = new Promise<Socket>((resolve) => {
        server.once('secureConnection', (secure: Socket) => {
          secure.on('error', () => {});
          secure.on('close', () => resolve(secure));
          rememberRawSocket(secure, raw as Socket);
          secure.write(Buffer.alloc(100_000));
          resetConnection(secure);
          resetConnection(secure);
        });
      });
      const client = tls.connect({ port, host: '127.0.0.1', ca: certificate.cert, servername: 'localhost' });
      expect(await endOf(client)).toBe('ECONNRESET');
      expect((await cut).destroyed).toBe(true);
      client.destroy();
    }
    server.close();
    await once(server, 'close');
  });
});

describe('a connection that was answered early', () => {
  test('goes on reading for a while, so that the peer gets to see the answer, and then ends', async () => {
    await using server = await startServer();
    const socket = await server.dial();
    socket.on('error', () => {});
    const closed = once(socket, 'close');
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n');
    const request = await server.next();
    const read = once(request, 'data');
    closeAfterEarlyAnswer(request);
    socket.write('abc');
    await read;
    expect(request.socket.destroyed).toBe(false);
    await closed;
    expect(request.socket.destroyed).toBe(true);
  });

  test('does not complain when the peer goes first', async () => {
    await using server = await startServer();
    const socket = await server.dial();
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n');
    const request = await server.next();
    closeAfterEarlyAnswer(request);
    const gone = new Promise<void>((resolve) => {
      request.socket.once('close', () => resolve());
    });
    socket.destroy();
    await gone;
    expect(request.socket.destroyed).toBe(true);
  });
});
