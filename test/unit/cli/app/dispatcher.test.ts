import { randomBytes } from 'node:crypto';
import diagnostics from 'node:diagnostics_channel';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import { expect, test } from '@jest/globals';
import { openConnections } from '../../../../src/cli/app/dispatcher.ts';
import { createTrust } from '../../../../src/http/trust.ts';

/**
 * The two ways by which a response is asked for, and as many bytes as each lets wait for a reader: with the last one, and no
 * earlier, the connection is held back.
 */
const WAYS = {
  'asked of a router': { init: { redirect: 'manual' }, bytes: 512 * 1024 },
  'that may be redirected': { init: {}, bytes: getDefaultHighWaterMark(false) },
} as const;

/** How the head of a response says where its content ends. */
const FRAMINGS = {
  'a length': (length: number) => `Content-Length: ${length}\r\n`,
  'a length on a connection that ends': (length: number) => `Content-Length: ${length}\r\nConnection: close\r\n`,
  'the end of its connection': () => 'Connection: close\r\n',
} as const;

/** A process that goes down by an assertion may leave connections that never close. */
const TIMEOUT_MS = 10_000;

const BOTH = (Object.keys(WAYS) as (keyof typeof WAYS)[]).flatMap((way) =>
  (Object.keys(FRAMINGS) as (keyof typeof FRAMINGS)[]).map((framing) => ({ way, framing })),
);

interface Held extends AsyncDisposable {
  readonly response: Response;
  /** The connection at the server's end. */
  readonly server: Socket;
  /** Resolves when the client has let go of the connection. */
  readonly closed: Promise<unknown>;
}

/** A response of which all bytes of `content` have come, and none was read. */
async function hold(way: keyof typeof WAYS, head: string, content: Buffer): Promise<Held> {
  const resources = new AsyncDisposableStack();
  const accepted = Promise.withResolvers<Socket>();
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    accepted.resolve(socket);
    socket.once('data', () => socket.write(Buffer.concat([Buffer.from(head), content])));
  });
  resources.defer(async () => {
    (await accepted.promise).destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let client: Socket | undefined;
  const onSocket = (message: unknown): void => {
    client = (message as { socket: Socket }).socket;
  };
  diagnostics.subscribe('net.client.socket', onSocket);
  const connections = openConnections(() => undefined, createTrust(undefined), 60_000);
  resources.defer(connections.close);
  const response = await connections.fetch(`http://127.0.0.1:${port}/`, WAYS[way].init);
  diagnostics.unsubscribe('net.client.socket', onSocket);
  const socket = client as unknown as Socket;
  while (socket.bytesRead < head.length + content.length) await new Promise(setImmediate);
  return {
    response,
    server: await accepted.promise,
    closed: new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
    }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const headOf = (framing: keyof typeof FRAMINGS, length: number): string =>
  `HTTP/1.1 200 OK\r\n${FRAMINGS[framing](length)}\r\n`;

test.each(BOTH)(
  'gives a response $way whole whose connection ends before it is read, with $framing',
  async (each) => {
    const content = randomBytes(WAYS[each.way].bytes);
    await using held = await hold(each.way, headOf(each.framing, content.length), content);
    held.server.end();
    await held.closed;
    expect(Buffer.from(await held.response.arrayBuffer()).equals(content)).toBe(true);
  },
  TIMEOUT_MS,
);

test.each(BOTH.filter(({ framing }) => framing !== 'the end of its connection'))(
  'fails a response $way whose connection ends too early and before it is read, with $framing',
  async (each) => {
    const content = randomBytes(WAYS[each.way].bytes);
    await using held = await hold(each.way, headOf(each.framing, content.length + 1), content);
    held.server.end();
    await held.closed;
    await expect(held.response.arrayBuffer()).rejects.toThrow(/^(fetch failed|terminated)$/);
  },
  TIMEOUT_MS,
);

test.each(BOTH)(
  'fails a response $way whose connection is cut before it is read, with $framing',
  async (each) => {
    const content = randomBytes(WAYS[each.way].bytes);
    await using held = await hold(each.way, headOf(each.framing, content.length + 1), content);
    held.server.resetAndDestroy();
    await held.closed;
    await expect(held.response.arrayBuffer()).rejects.toThrow(/^(fetch failed|terminated)$/);
  },
  TIMEOUT_MS,
);
