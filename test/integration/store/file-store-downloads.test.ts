import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, truncate } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type FileStoreServer, startFileStore } from './file-store-server.ts';
import { put, readToEnd, send } from './http-client.ts';

const ONE = 'datasets/cc-28-aa-01-02-03/one';
const TWO = 'datasets/cc-28-aa-01-02-03/two';
const MIB = 1024 * 1024;

describe('file store: downloads', () => {
  let server: FileStoreServer;

  beforeEach(async () => {
    server = await startFileStore();
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('resets the connection when the object cannot be read to its end', async () => {
    await server.putObject(ONE, 64 * MIB);
    const call = request(await server.signGet(ONE), { agent: false }).end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    call.on('error', () => undefined);
    const [file] = await readdir(join(server.directory, 'objects'));
    await truncate(join(server.directory, 'objects', String(file)), 32 * MIB);
    await expect(readToEnd(response)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(await server.countOpenFiles()).toBe(0);
  });

  it('lets go of the file when the reader goes away', async () => {
    await server.putObject(ONE, 64 * MIB);
    const call = request(await server.signGet(ONE), { agent: false }).end();
    await once(call, 'response');
    expect(await server.countOpenFiles()).toBe(1);
    const handled = once(server.events, 'handled');
    call.destroy();
    await handled;
    expect(await server.countOpenFiles()).toBe(0);
  });

  it('gives an object to its end that was removed while it was read, and spares one that is read', async () => {
    await server[Symbol.asyncDispose]();
    server = await startFileStore({ maxBytes: 64 * MIB });
    const body = randomBytes(40 * MIB);
    await put(await server.signPut(ONE), body);
    const call = request(await server.signGet(ONE), { agent: false }).end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    expect((await server.putObject(TWO, 30 * MIB)).status).toBe(507);
    await server.store.remove(ONE);
    expect((await readToEnd(response)).equals(body)).toBe(true);
  });

  it('tells when an object is read', async () => {
    await server.putObject(ONE, 1000);
    const reads: unknown[] = [];
    server.events.on('read', (key) => reads.push(key));
    await send('GET', await server.signGet(ONE));
    expect(new Set(reads)).toEqual(new Set([ONE]));
  });

  it('answers HEAD as GET, without the bytes', async () => {
    await server.putObject(ONE, 1000);
    const url = await server.signGet(ONE);
    const [head, get] = [await send('HEAD', url), await send('GET', url)];
    const without = ({ date: _date, ...headers }: typeof head.headers) => headers;
    expect(head.status).toBe(200);
    expect(head.body.length).toBe(0);
    expect(without(head.headers)).toEqual(without(get.headers));
    expect(head.headers).toMatchObject({
      'accept-ranges': 'bytes',
      'content-length': '1000',
      'content-security-policy': 'sandbox',
      'x-content-type-options': 'nosniff',
    });
  });

  it('gives the range only if the object is the one that the reader has a part of', async () => {
    const { etag } = (await server.putObject(ONE, 1000)).headers;
    const url = await server.signGet(ONE);
    const lastModified = String((await send('HEAD', url)).headers['last-modified']);
    const ask = async (ifRange: string) => (await send('GET', url, { range: 'bytes=1-2', 'if-range': ifRange })).status;
    expect(await ask(String(etag))).toBe(206);
    expect(await ask(lastModified)).toBe(206);
    expect(await ask('"another"')).toBe(200);
    expect(await ask(`W/${String(etag)}`)).toBe(200);
    expect(await ask('Thu, 01 Jan 1970 00:00:00 GMT')).toBe(200);
  });

  it('holds to the conditions of a request, dates among them', async () => {
    await server.putObject(ONE, 1000);
    const url = await server.signGet(ONE);
    const { etag, 'last-modified': modified } = (await send('HEAD', url)).headers;
    const ask = async (headers: Record<string, string>) => (await send('GET', url, headers)).status;
    const early = 'Sunday, 06-Nov-94 08:49:37 GMT';
    expect(await ask({ 'if-none-match': `"x,y", W/${etag}` })).toBe(304);
    expect(await ask({ 'if-modified-since': String(modified) })).toBe(304);
    expect(await ask({ 'if-modified-since': early })).toBe(200);
    expect(await ask({ 'if-match': `W/${etag}` })).toBe(412);
    expect(await ask({ 'if-match': `"x,y", ${etag}`, 'if-unmodified-since': early })).toBe(200);
    expect(await ask({ 'if-unmodified-since': early })).toBe(412);
  });

  it('refuses in words where a person is to read them', async () => {
    await server.putObject(ONE, 1000);
    const answer = await send('GET', `${await server.signGet(ONE)}x`, {
      accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
    });
    expect([answer.status, answer.headers['content-type']]).toEqual([403, 'text/plain; charset=utf-8']);
    expect(answer.body.toString()).toMatch(/^[^\n]+ \(forbidden\)\n$/);
    expect(answer.headers.vary).toBe('Accept');
  });

  it('says the size when a range lies outside', async () => {
    await server.putObject(ONE, 1000);
    const answer = await send('GET', await server.signGet(ONE), { range: 'bytes=1000-' });
    expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */1000']);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'range_not_satisfiable', size: 1000 });
  });
});
