import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import { createAgents } from '../../../../src/connector/http/agents.ts';
import { createTrust } from '../../../../src/http/trust.ts';
import { type Sending, send, type Write } from '../../../../src/connector/http/send.ts';

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

class Server implements AsyncDisposable {
  readonly agents = createAgents(() => undefined, createTrust(undefined));
  readonly url: URL;
  readonly sockets: Socket[] = [];
  readonly #server: http.Server;

  private constructor(server: http.Server) {
    this.#server = server;
    this.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/x`);
    server.on('connection', (socket) => this.sockets.push(socket));
  }

  static async start(handle: Handle): Promise<Server> {
    const server = http.createServer(handle).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Server(server);
  }

  send(more: Partial<Sending> = {}): ReturnType<typeof send> {
    const defaults = { method: 'POST', url: this.url, headers: {}, body: 'hello', silenceMs: 5000 } as const;
    return send(this.agents, { ...defaults, signal: new AbortController().signal, ...more });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.agents.close();
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const PIECE = Buffer.alloc(64 * 1024);

/** Writes without end, and counts. */
function endless(): { body: (write: Write) => Promise<void>; sent: () => number } {
  let sent = 0;
  return {
    sent: () => sent,
    body: async (write) => {
      for (;;) {
        await write(PIECE);
        sent += PIECE.length;
      }
    },
  };
}

describe('sending a request', () => {
  test('keeps the connection for the next one', async () => {
    await using server = await Server.start((request, response) => {
      request.resume().on('end', () => response.end('ok'));
    });
    for (let i = 0; i < 5; i++) expect((await server.send()).body.toString()).toBe('ok');
    expect(server.sockets.length).toBe(1);
  });

  test('says once for each request that it has a connection, new or kept', async () => {
    await using server = await Server.start((request, response) => {
      request.resume().on('end', () => response.end('ok'));
    });
    let connected = 0;
    for (let i = 1; i <= 3; i++) {
      await server.send({ onConnected: () => connected++ });
      expect(connected).toBe(i);
    }
    expect(server.sockets.length).toBe(1);
  });

  test('notices an answer that comes before the body has ended, and stops', async () => {
    await using server = await Server.start((_request, response) => {
      response.writeHead(410, { 'Content-Type': 'text/plain' }).end('gone');
    });
    const { body, sent } = endless();
    const reply = await server.send({ body });
    expect(reply.status).toBe(410);
    expect(reply.body.toString()).toBe('gone');
    const soFar = sent();
    await new Promise(setImmediate);
    expect(sent()).toBe(soFar);
  });

  test('notices such an answer also while the other side reads nothing', async () => {
    let answer: (() => void) | undefined;
    await using server = await Server.start((request, response) => {
      request.pause();
      answer = () => response.writeHead(507).end();
    });
    const { body, sent } = endless();
    const replying = server.send({ body });
    // The buffers between fill up until nothing moves.
    for (let last = -1; last !== sent() || last <= 0; ) {
      last = sent();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    answer?.();
    expect((await replying).status).toBe(507);
  });

  test('takes a new connection where a kept one turns out to be closed', async () => {
    let requests = 0;
    await using server = await Server.start((request, response) => {
      // The second request finds its connection cut, as by a server whose idle limit has just run out.
      if (++requests === 2) request.socket.resetAndDestroy();
      else request.resume().on('end', () => response.end('ok'));
    });
    await server.send();
    let runs = 0;
    const reply = await server.send({
      body: async (write) => {
        runs++;
        await write(PIECE);
      },
    });
    expect(reply.status).toBe(200);
    expect(runs).toBe(2);
    expect(server.sockets.length).toBe(2);
  });

  test('does not repeat by itself what broke on a connection of its own', async () => {
    let requests = 0;
    await using server = await Server.start((request) => {
      requests++;
      request.socket.resetAndDestroy();
    });
    await expect(server.send()).rejects.toMatchObject({ code: 'transfer_interrupted' });
    expect(requests).toBe(1);
  });

  test('ends with the reason of its signal, and cuts the connection', async () => {
    await using server = await Server.start((request) => void request.pause());
    const abort = new AbortController();
    const { body, sent } = endless();
    const sending = server.send({ body, signal: abort.signal });
    while (sent() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const reason = new Error('cancelled');
    const start = performance.now();
    abort.abort(reason);
    await expect(sending).rejects.toBe(reason);
    expect(performance.now() - start).toBeLessThan(500);
    await expect(server.send({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test('gives up a silent server, unless the silence is allowed', async () => {
    let finish: (() => void) | undefined;
    await using server = await Server.start((_request, response) => {
      finish = () => response.end('at last');
    });
    await expect(server.send({ silenceMs: 100 })).rejects.toMatchObject({
      code: 'transfer_interrupted',
      message: expect.stringContaining('nothing moved'),
    });
    let asked = 0;
    const reply = await server.send({
      silenceMs: 50,
      isStalled: () => {
        if (++asked === 3) finish?.();
        return false;
      },
    });
    expect(reply.body.toString()).toBe('at last');
  });

  test('lets the reason be told before it cuts a body that failed', async () => {
    const order: string[] = [];
    await using server = await Server.start((request) => {
      request.resume();
      request.on('close', () => order.push('cut'));
    });
    const failure = new Error('the disk failed');
    const sending = server.send({
      headers: { 'Content-Length': String(10 * PIECE.length) },
      body: async (write) => {
        await write(PIECE);
        throw failure;
      },
      beforeCut: async (error) => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        expect(error).toBe(failure);
        order.push('told');
      },
    });
    await expect(sending).rejects.toMatchObject({ cause: failure });
    while (order.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual(['told', 'cut']);
  });

  test('does not grow with what it sends', async () => {
    await using server = await Server.start((request, response) => {
      request.resume().on('end', () => response.end());
    });
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    let after = 0;
    await server.send({
      body: async (write) => {
        for (let i = 0; i < 8192; i++) await write(PIECE);
        // What is held for each piece would be held now, while the request is still open.
        collectGarbage();
        after = process.memoryUsage().heapUsed;
      },
    });
    expect(after - before).toBeLessThan(1024 * 1024);
  });
});
