import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { SignedRequest } from '../../../src/protocol/commands.ts';
import { FileStore, type FileStoreOptions } from '../../../src/store/file-store.ts';
import type { SigningOptions } from '../../../src/store/object-store.ts';
import { type Answer, put } from './http-client.ts';

/** A file store behind a real HTTP server, under a path prefix as a router may have one. */
export interface FileStoreServer extends AsyncDisposable {
  readonly store: FileStore;
  readonly baseUrl: string;
  readonly directory: string;
  /** `handled` once a request was dealt with; `bytes` (key, count) as they arrive; `read` (key); `evict` (key). */
  readonly events: EventEmitter;
  /** Names of the files of what is unfinished. */
  listUnfinished(): Promise<string[]>;
  /** How many of the store's files this process has open. */
  countOpenFiles(): Promise<number>;
  /** What URLs are signed with, good for a minute unless another time is given. */
  signing(expiresAt?: Date): SigningOptions;
  signPut(key: string): Promise<SignedRequest>;
  signGet(key: string): Promise<string>;
  /** Puts an object of random bytes. */
  putObject(key: string, size: number): Promise<Answer>;
  listKeys(): Promise<string[]>;
}

/** @param options what differs from a store in a new directory that takes anything. */
export async function startFileStore(options: Partial<FileStoreOptions> = {}): Promise<FileStoreServer> {
  const root = await mkdtemp(join(tmpdir(), 'relay-store-'));
  const directory = options.directory ?? join(root, 'store');
  const events = new EventEmitter();
  const store = new FileStore({
    directory,
    minFreeBytes: 0,
    signingKey: randomBytes(32),
    isLive: () => false,
    logger: silentLogger(),
    onBytes: (key, count) => void events.emit('bytes', key, count),
    onRead: (key) => void events.emit('read', key),
    onEvict: (key) => void events.emit('evict', key),
    ...options,
  });
  await store.open();
  const server = createServer((request, response) => {
    void store
      .handleRequest(request, response, String(request.url).replace(/^\/prefix/, ''))
      .then(() => events.emit('handled', request.method, request.url));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix`;
  const signing = (expiresAt = new Date(Date.now() + 60_000)) => ({ expiresAt, baseUrl });
  return {
    store,
    directory,
    events,
    baseUrl,
    countOpenFiles: () => countOpenFiles(directory),
    signing,
    signPut: (key) => store.signPut(key, signing()),
    signGet: (key) => store.signGet(key, { ...signing(), filename: 'a.bin' }),
    putObject: async (key, size) => put(await store.signPut(key, signing()), randomBytes(size)),
    listKeys: async () => {
      const keys: string[] = [];
      for await (const { key } of store.list()) keys.push(key);
      return keys;
    },
    listUnfinished: () => readdir(join(directory, 'uploads')),
    [Symbol.asyncDispose]: async () => {
      await store.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function countOpenFiles(directory: string): Promise<number> {
  const names = await readdir('/proc/self/fd');
  // Some are gone by the time they are looked at, the one of this listing among them.
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(`${directory}/`)).length;
}
