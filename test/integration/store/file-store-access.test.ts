import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { signPath } from '../../../src/store/file-store-signature.ts';
import { type FileStoreServer, startFileStore } from './file-store-server.ts';
import { type Answer, put, readToEnd, send } from './http-client.ts';

const ONE = 'datasets/cc-28-aa-01-02-03/one';
const TWO = 'datasets/cc-28-aa-01-02-03/two';
const SIGNING_KEY = randomBytes(32);

describe('file store: access', () => {
  let server: FileStoreServer;

  beforeEach(async () => {
    server = await startFileStore({ signingKey: SIGNING_KEY });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('tells an expired URL from a wrong one', async () => {
    await server.putObject(ONE, 1000);
    const expired = server.signing(new Date(Date.now() - 1000));
    const get = await server.store.signGet(ONE, { ...expired, filename: 'a.bin' });
    expect(await codeOf(send('GET', get))).toEqual([403, 'url_expired']);
    expect(await codeOf(put(await server.store.signPut(TWO, expired), randomBytes(10)))).toEqual([403, 'url_expired']);
    const id = await server.store.createUpload(TWO, 1000);
    const part = await server.store.signPart(TWO, id, 1, expired);
    expect(await codeOf(put(part, randomBytes(10)))).toEqual([403, 'url_expired']);
    const later = get.replace(/expires=\d+/, `expires=${Math.floor(Date.now() / 1000) + 3600}`);
    expect(await codeOf(send('GET', later))).toEqual([403, 'forbidden']);
    expect(await codeOf(send('GET', (await server.signGet(ONE)).replace('a.bin', 'b.bin')))).toEqual([
      403,
      'forbidden',
    ]);
    expect(await codeOf(put({ url: part.url.replace('/1?', '/2?'), headers: {} }, randomBytes(10)))).toEqual([
      403,
      'forbidden',
    ]);
  });

  it('never leaves its directory, whatever a path says', async () => {
    await writeFile(join(server.directory, 'secret'), 'secret');
    const hostile = [
      '..',
      '../secret',
      '../../../../etc/passwd',
      '..~secret',
      '%2e%2e/secret',
      'a/../../secret',
      '/etc/passwd',
      'a//b',
      '.',
      'a\\..\\b',
      'datasets~x',
      'a%00b',
      'a'.repeat(300),
    ];
    for (const key of hostile) {
      const signedPath = (method: 'GET' | 'PUT') =>
        signPath(SIGNING_KEY, { method, path: `/store/objects/${key}` }, new Date(Date.now() + 60_000));
      // Even with a signature, which nobody would give for it.
      expect(await sendPath(server.baseUrl, 'GET', `/prefix${signedPath('GET')}`)).toBe(404);
      expect(await sendPath(server.baseUrl, 'PUT', `/prefix${signedPath('PUT')}`)).toBe(404);
      expect(await sendPath(server.baseUrl, 'GET', `/prefix/store/objects/${key}`)).toBe(403);
    }
    expect(await readdir(server.directory)).toEqual(['objects', 'secret', 'uploads']);
    await expect(server.store.signPut('../secret', server.signing())).rejects.toMatchObject({ code: 'internal' });
  });

  it('knows no other methods and no other paths', async () => {
    const url = await server.signGet(ONE);
    const answer = await send('DELETE', url);
    expect([answer.status, answer.headers.allow]).toEqual([405, 'GET, HEAD, PUT, OPTIONS']);
    const part = await server.store.signPart(ONE, 'unknown', 1, server.signing());
    expect((await send('GET', part.url)).status).toBe(405);
    expect((await put(part, randomBytes(10))).status).toBe(404);
    expect((await send('GET', `${server.baseUrl}/store/`)).status).toBe(403);
  });
});

async function codeOf(answer: Promise<Answer>): Promise<[number, string]> {
  const { status, headers, body } = await answer;
  expect(headers['content-type']).toBe('application/problem+json');
  return [status, (JSON.parse(body.toString()) as { code: string }).code];
}

/** Asks for a path as it is: URL would tidy it up. @returns the status of the answer. */
async function sendPath(baseUrl: string, method: string, path: string): Promise<number | undefined> {
  const call = request({ host: '127.0.0.1', port: new URL(baseUrl).port, method, path, agent: false }).end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  await readToEnd(response);
  return response.statusCode;
}
