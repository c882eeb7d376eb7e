import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { CommandModule } from 'yargs';
import { RelayClient } from '../../index.ts';
import { RelayError } from '../../protocol/errors.ts';
import type { CommandContext } from '../io.ts';
import { type DemoDataset, makeBinary, makeCsv } from './datasets.ts';
import { measure, type Measurement, type Pattern } from './measure.ts';
import { Processes } from './processes.ts';
import { formatTable } from './table.ts';

const WEBSOCKET_NODE = 'cc-28-aa-01-02-03';
const SSE_NODE = 'cc-28-aa-01-02-04';
const MEGABYTES = 100;

/** `relay demo`: the whole flow with real processes on this machine, and what it measures. */
export function demoCommand({ io }: CommandContext): CommandModule {
  return {
    command: 'demo',
    describe: 'See all of it at work on this machine',
    builder: (yargs) => yargs.usage('$0 demo'),
    handler: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'relay-demo-'));
      try {
        await using processes = new Processes(directory);
        await play(directory, processes, (text) => io.stdout.write(`${text}\n`));
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

async function play(directory: string, processes: Processes, say: (text: string) => void): Promise<void> {
  const dataDir = join(directory, 'data');
  await mkdir(dataDir);
  const csv = await makeCsv(dataDir);
  const binary = await makeBinary(dataDir, `${MEGABYTES}mb.bin`, MEGABYTES * 1e6);
  say(
    `Two datasets on a machine that nothing can reach: ${csv.name} (${(csv.size / 1e6).toFixed(1)} MB) and ${binary.name}.\n`,
  );

  const url = await startRoles(directory, dataDir, processes, say);

  say('\nWhat an app types, and what it gets:');
  const show = async (args: readonly string[], check: (stdout: Buffer) => Promise<string> | string): Promise<void> => {
    const shown = args
      .map((word) => word.replace(`${directory}/`, ''))
      .filter((word, at) => word !== '--router' && args[at - 1] !== '--router');
    const { exitCode, stdout, stderr, ms } = await processes.run(args);
    if (exitCode !== 0)
      throw new RelayError('content_mismatch', `relay ${shown.join(' ')} ended with ${exitCode}: ${stderr}`);
    say(`  $ relay ${shown.join(' ')}`);
    say(`    ${await check(stdout)} (${(ms / 1000).toFixed(2)} s)`);
  };
  const app = (command: string, mac: string, ...rest: string[]): string[] => [
    'app',
    command,
    mac,
    ...rest,
    '--router',
    url,
  ];
  await show(app('datasets', SSE_NODE), (stdout) => stdout.toString().trim().split('\n').join(', '));
  for (const mac of [WEBSOCKET_NODE, SSE_NODE]) {
    await show(app('request-sync', mac, csv.name), (stdout) => checkBytes(stdout, csv));
    for (const command of ['request-stream', 'request-offload']) {
      const file = join(directory, `${command}-${mac}.bin`);
      await show(app(command, mac, binary.name, '-o', file), () => checkFile(file, binary));
    }
  }

  say(
    `\nMeasured here just now, ${binary.name} over the WebSocket node (the router was started with --buffer-max ${MEGABYTES}MB):\n`,
  );
  const figures: Partial<Record<Pattern, Measurement>> = {};
  // From the least memory to the most, so that none is measured on what another has left behind. C uploads a fresh file.
  const fresh = await makeBinary(dataDir, `${MEGABYTES + 1}mb.bin`, (MEGABYTES + 1) * 1e6);
  const target = { client: new RelayClient({ baseUrl: url }), fetch };
  figures.C = await measure(target, WEBSOCKET_NODE, fresh.name, 'C');
  figures.B = await measure(target, WEBSOCKET_NODE, binary.name, 'B');
  figures.A = await measure(target, WEBSOCKET_NODE, binary.name, 'A');
  const isRight = ({ sha256 }: Measurement): boolean => sha256 === binary.sha256 || sha256 === fresh.sha256;
  say(formatTable(figures as Record<Pattern, Measurement>, isRight));
  const wrong = Object.entries(figures).filter(([, figure]) => !isRight(figure));
  if (wrong.length > 0)
    throw new RelayError(
      'content_mismatch',
      `pattern ${wrong.map(([pattern]) => pattern).join(', ')} gave other bytes than were sent`,
    );
  say('\nEvery byte was verified. The router, both connectors and all files of the demo are gone again.');
}

async function startRoles(
  directory: string,
  dataDir: string,
  processes: Processes,
  say: (text: string) => void,
): Promise<string> {
  const common = ['--port', '0', '--state-dir', join(directory, 'state'), '--buffer-max', `${MEGABYTES}MB`];
  const started = await processes.startRole(['router', ...common], ({ url }) => typeof url === 'string');
  const url = String(started['url']);
  say(`  $ relay router                                   listening on ${url}`);
  for (const [mac, transport] of [
    [WEBSOCKET_NODE, 'websocket'],
    [SSE_NODE, 'sse'],
  ] as const) {
    const args = ['connector', '--router', url, '--mac', mac, '--data-dir', dataDir, '--transport', transport];
    await processes.startRole(args, ({ link }) => link === transport);
    say(`  $ relay connector --router ${url} --mac ${mac} --data-dir ./data --transport ${transport}`);
  }
  return url;
}

function checkBytes(bytes: Buffer, { size, sha256 }: DemoDataset): string {
  return verdict(bytes.length, createHash('sha256').update(bytes).digest('hex'), size, sha256);
}

async function checkFile(path: string, { size, sha256 }: DemoDataset): Promise<string> {
  const hash = createHash('sha256');
  let length = 0;
  await pipeline(
    createReadStream(path),
    async function* count(pieces: AsyncIterable<Buffer>) {
      for await (const piece of pieces) {
        length += piece.length;
        yield piece;
      }
    },
    hash,
  );
  return verdict(length, hash.digest('hex'), size, sha256);
}

function verdict(size: number, sha256: string, expectedSize: number, expectedSha256: string): string {
  if (size !== expectedSize || sha256 !== expectedSha256) {
    throw new RelayError(
      'content_mismatch',
      `${size} bytes with SHA-256 ${sha256} arrived, and ${expectedSize} with ${expectedSha256} were sent`,
    );
  }
  return `${(size / 1e6).toFixed(1)} MB, SHA-256 ${sha256.slice(0, 16)}… verified`;
}
