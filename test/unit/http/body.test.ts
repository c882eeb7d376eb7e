import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { type BodyWatch, readBody } from '../../../src/http/body.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import { startServer } from './http-server.ts';

interface Sending extends AsyncDisposable {
  readonly socket: Socket;
  readonly request: IncomingMessage;
}

/** A POST whose head has arrived; its body is the test's to write. */
async function post(...headers: string[]): Promise<Sending> {
  const server = await startServer();
  const socket = await server.dial();
  socket.on('error', () => {});
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n`);
  const request = await server.next();
  return {
    socket,
    request,
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

const codeOf = (reading: Promise<Buffer>): Promise<string> =>
  reading.then(
    () => 'no error',
    (error: RelayError) => error.code,
  );

describe('reading a body', () => {
  test('gives all of it, in pieces or not', async () => {
    await using sending = await post('Transfer-Encoding: chunked');
    const reading = readBody(sending.request, 100);
    sending.socket.write('3\r\nabc\r\n');
    sending.socket.write('4\r\ndefg\r\n0\r\n\r\n');
    expect((await reading).toString()).toBe('abcdefg');
  });

  test('gives an empty one', async () => {
    await using sending = await post('Content-Length: 0');
    expect(await readBody(sending.request, 0)).toHaveLength(0);
  });

  test('takes as much as its limit, and no byte more', async () => {
    await using exact = await post('Content-Length: 4');
    exact.socket.write('abcd');
    expect((await readBody(exact.request, 4)).toString()).toBe('abcd');
    await using beyond = await post('Transfer-Encoding: chunked');
    const reading = readBody(beyond.request, 4);
    beyond.socket.write('5\r\nabcde\r\n');
    await expect(reading).rejects.toMatchObject({ code: 'invalid_request', details: { limit: 4 } });
  });

  test('refuses what says beforehand that it is too large, with its first piece', async () => {
    await using sending = await post('Content-Length: 1000');
    const reading = readBody(sending.request, 4);
    sending.socket.write('ab');
    expect(await codeOf(reading)).toBe('invalid_request');
  });

  test('leaves the connection open when it refuses, for the answer', async () => {
    await using sending = await post('Content-Length: 1000');
    const reading = readBody(sending.request, 4);
    sending.socket.write('abcdef');
    expect(await codeOf(reading)).toBe('invalid_request');
    expect(sending.request.destroyed).toBe(false);
    expect(sending.request.socket.destroyed).toBe(false);
  });

  test.each([
    ['with FIN', (socket: Socket) => void socket.end()],
    ['with RST', (socket: Socket) => void socket.resetAndDestroy()],
  ])('says transfer_interrupted when it breaks off %s', async (_how, breakOff) => {
    await using sending = await post('Content-Length: 10');
    const reading = codeOf(readBody(sending.request, 100));
    sending.socket.write('abc', () => breakOff(sending.socket));
    expect(await reading).toBe('transfer_interrupted');
  });

  test('says transfer_interrupted when a chunked one ends without its last chunk', async () => {
    await using sending = await post('Transfer-Encoding: chunked');
    const reading = codeOf(readBody(sending.request, 100));
    sending.socket.end('3\r\nabc\r\n');
    expect(await reading).toBe('transfer_interrupted');
  });
});

describe('the owner of a body', () => {
  test('is told of every byte before the whole is there', async () => {
    await using sending = await post('Content-Length: 6');
    let reserved = 0;
    let first = (): void => {};
    const begun = new Promise<void>((resolve) => {
      first = resolve;
    });
    const watch: BodyWatch = {
      reserve: (bytes) => {
        reserved += bytes;
        first();
      },
    };
    const reading = readBody(sending.request, 100, watch);
    sending.socket.write('abc');
    await begun;
    expect(reserved).toBe(3);
    sending.socket.write('def');
    await reading;
    expect(reserved).toBe(6);
  });

  test('may refuse it for want of room, and reads nothing after that', async () => {
    await using sending = await post('Content-Length: 6');
    const full = new RelayError('overloaded');
    const reading = readBody(sending.request, 100, {
      reserve: () => {
        throw full;
      },
    });
    sending.socket.write('abc');
    await expect(reading).rejects.toBe(full);
  });

  test('sees the beginning of what is refused, and chooses the error', async () => {
    await using sending = await post('Content-Length: 100000');
    const chosen = new RelayError('dataset_too_large');
    const seen: [string, string][] = [];
    const reading = readBody(sending.request, 5000, {
      refuse: (error, beginning) => {
        seen.push([error.code, beginning]);
        return chosen;
      },
    });
    sending.socket.write('0123456789'.repeat(1000));
    await expect(reading).rejects.toBe(chosen);
    expect(seen).toHaveLength(1);
    const [[code, beginning]] = seen as [[string, string]];
    expect(code).toBe('invalid_request');
    expect(beginning.length).toBeLessThanOrEqual(4096);
    expect('0123456789'.repeat(410).startsWith(beginning)).toBe(true);
    expect(beginning).not.toBe('');
  });

  test('is not asked when the body breaks off by itself', async () => {
    await using sending = await post('Content-Length: 10');
    let asked = false;
    const reading = codeOf(
      readBody(sending.request, 100, {
        refuse: (error) => {
          asked = true;
          return error;
        },
      }),
    );
    sending.socket.end('abc');
    expect(await reading).toBe('transfer_interrupted');
    expect(asked).toBe(false);
  });
});

describe('a body with a deadline', () => {
  const slow = { timeoutMs: 300, minBytesPerSecond: 1 };

  test('is late when it stops', async () => {
    await using sending = await post('Content-Length: 10');
    const reading = readBody(sending.request, 100, { pace: { timeoutMs: 100, minBytesPerSecond: 1000 } });
    sending.socket.write('abc');
    await expect(reading).rejects.toMatchObject({
      code: 'request_timeout',
      message: expect.stringMatching(/whole within 0\.1 s/),
    });
  });

  test('has longer for each byte that has come', async () => {
    await using sending = await post('Content-Length: 4');
    const begunAt = performance.now();
    const reading = readBody(sending.request, 100, { pace: slow });
    sending.socket.write('abc');
    // Three bytes are worth three seconds, so that waiting out the first deadline harms nothing.
    while (performance.now() - begunAt < slow.timeoutMs * 2) await new Promise((resolve) => setTimeout(resolve, 50));
    sending.socket.write('d');
    expect((await reading).toString()).toBe('abcd');
  });
});
