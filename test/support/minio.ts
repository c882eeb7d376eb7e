import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { ensureMinio } from '../../scripts/minio.mjs';
import { run } from './processes.ts';

/** A MinIO server that runs for a test, on loopback where nothing else is said, with its data in a directory of its own. */
export interface Minio extends AsyncDisposable {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Of the server's process. */
  readonly pid: number;
  /** Makes a bucket. @returns its name, a new one where none is given. */
  createBucket(name?: string): Promise<string>;
  /** Every key in a bucket; of a server in another network nobody here can ask, as for a new bucket. */
  listKeys(bucket: string): Promise<string[]>;
  /** How many uploads in parts are neither completed nor aborted, in all buckets: MinIO lists them for one key only. */
  countUploads(): Promise<number>;
  /** Ends the server's process and resolves when it is gone; its data stay. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again, on the same port. Resolves when it is ready. */
  start(): Promise<void>;
}

/** Where a server listens. */
export interface MinioPlace {
  /** Words before the program that run it in another network, and its address there. */
  readonly launcher: readonly string[];
  readonly address: string;
}

const LOOPBACK: MinioPlace = { launcher: [], address: '127.0.0.1' };

/** Ports are given up before MinIO takes them, so that another may come first. */
const ATTEMPTS = 5;
const READY_TIMEOUT_MS = 30_000;

/** Starts a MinIO server; it is ready when this resolves, and stopped with its data removed when it is disposed of. */
export async function startMinio(place: MinioPlace = LOOPBACK): Promise<Minio> {
  const binary = await ensureMinio();
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(binary, place);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function startOnce(binary: string, { launcher, address }: MinioPlace): Promise<Minio> {
  const directory = await mkdtemp(join(tmpdir(), 'relay-minio-'));
  const accessKey = `test${randomBytes(4).toString('hex')}`;
  const secretKey = randomBytes(16).toString('hex');
  const [port, consolePort] = await findPorts();
  const [program, ...words] = [...launcher, binary];
  const launch = (): ChildProcess =>
    spawn(
      program,
      // The console listens beyond loopback where it is not told otherwise, even when it is off.
      // prettier-ignore
      [
        ...words,
        'server',
        join(directory, 'data'),
        '--address',
        `${address}:${port}`,
        '--console-address',
        `127.0.0.1:${consolePort}`,
        '--certs-dir',
        join(directory, 'certs'),
        '--quiet',
      ],
      {
        env: {
          PATH: process.env.PATH,
          HOME: directory,
          MINIO_ROOT_USER: accessKey,
          MINIO_ROOT_PASSWORD: secretKey,
          MINIO_BROWSER: 'off',
          MINIO_UPDATE: 'off',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
  const endpoint = `http://${address}:${port}`;
  let child: ChildProcess | undefined;
  let guard: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = launch();
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (text: Buffer) => {
        output = `${output}${text.toString()}`.slice(-4096);
      });
    }
    guard = startGuard(child, directory);
    try {
      await waitUntilReady(child, () => isReady(endpoint, launcher));
    } catch (cause) {
      throw new Error(`MinIO did not start: ${output}`, { cause });
    }
  };
  const stop = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (guard !== undefined) await stopProcess(guard);
    if (child !== undefined) await stopProcess(child, signal);
  };
  const remove = async (): Promise<void> => {
    await stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });
  return {
    endpoint,
    accessKey,
    secretKey,
    get pid() {
      return child?.pid as number;
    },
    createBucket: async (name = `test-${randomBytes(6).toString('hex')}`) => {
      await client.send(new CreateBucketCommand({ Bucket: name }));
      return name;
    },
    listKeys: async (bucket) => {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      return Contents.map(({ Key }) => String(Key));
    },
    countUploads: async () => {
      const uploads = join(directory, 'data', '.minio.sys', 'multipart');
      const entries = await readdir(uploads, { recursive: true, withFileTypes: true }).catch(() => []);
      // A directory for each object, and in it one for each upload.
      return entries.filter((entry) => entry.isDirectory() && dirname(entry.parentPath) === uploads).length;
    },
    stop,
    start,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await remove();
    },
  };
}

/** Ends the server when the tests' own process is killed, and so can dispose of nothing: its pipe breaks then. */
function startGuard({ pid }: ChildProcess, directory: string): ChildProcess {
  const script = 'read line; kill -9 "$1"; rm -rf "$2"';
  return spawn('/bin/sh', ['-c', script, 'sh', String(pid), directory], { stdio: ['pipe', 'ignore', 'ignore'] });
}

async function findPorts(): Promise<number[]> {
  const servers = [createServer(), createServer()];
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ports.push((server.address() as { port: number }).port);
  }
  for (const server of servers) {
    server.close();
    await once(server, 'close');
  }
  return ports;
}

async function waitUntilReady(child: ChildProcess, askIsReady: () => Promise<boolean>): Promise<void> {
  const exited = once(child, 'exit').then(() => {
    throw new Error('it ended');
  });
  exited.catch(() => undefined);
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await Promise.race([askIsReady(), exited]))) {
    if (Date.now() > deadline) throw new Error('it is not ready in time');
  }
}

/** MinIO has no sign of readiness but this address. */
async function isReady(endpoint: string, launcher: readonly string[]): Promise<boolean> {
  const url = `${endpoint}/minio/health/ready`;
  const [program, ...words] = launcher;
  // From another network it is asked there.
  const ready =
    program === undefined
      ? await fetch(url).then(drain, () => false)
      : (await run(program, [...words, 'curl', '--silent', '--fail', '--output', '/dev/null', url])).code === 0;
  if (!ready) {
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
  return ready;
}

async function drain(response: Response): Promise<boolean> {
  await response.arrayBuffer();
  return response.ok;
}

async function stopProcess(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
