/**
 * Records dialogues of the connectors of this version with its router:
 *
 *     node test/protocol-dialogues/record.ts test/protocol-dialogues/v1
 *
 * To be run once for each released version of the protocol, and its output kept for ever.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { WebSocket, WebSocketServer } from 'ws';
import { Connector } from '../../src/connector/connector.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { Mac } from '../../src/protocol/mac.ts';
import { makeTempDir, startRouter } from '../support/router.ts';
import { describeBody, type Step } from './dialogue.ts';

type Headers = Readonly<Record<string, string>>;
type Json = Readonly<Record<string, unknown>>;

const MAC = 'cc-28-aa-01-02-03';

/** What every HTTP client says by itself. */
const OWN =
  /^(?:host|connection|content-length|transfer-encoding|user-agent|accept.*|sec-.*|upgrade|keep-alive|cache-.*)$/;
/** What a connector, and an app, look at in what they get. */
const REPLY = /^(?:etag)$/;
const ANSWER = /^(?:content-type|etag|last-modified|repr-digest|relay-total-size|trailer)$/;
/** What no two runs have in common, and words for people. */
const FRESH = new Set(['expires_at', 'detail', 'title']);
/** The same, where it is not known by a name. */
const UNNAMED = new Set(['download_url', 'request_id']);

/** Sits between a connector and a router, and writes down what they say. */
class Recorder {
  readonly steps: Step[] = [];
  readonly #router: URL;
  readonly #names = new Map<string, string>();
  readonly #server = http.createServer((request, response) => void this.#forward(request, response));
  readonly #sockets = new WebSocketServer({ noServer: true, handleProtocols: ([first]) => first ?? false });
  #open = 0;
  #wakeUp: (() => void) | undefined;

  constructor(router: string) {
    this.#router = new URL(router);
    this.#server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Asks as an app, and waits until the connector has nothing more to say. */
  async ask(method: string, path: string, body?: Json, headers: Headers = {}): Promise<void> {
    const sent = { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) };
    this.#note({ ask: { method, path, headers: sent, ...(body !== undefined && { body: { json: body } }) } });
    const response = await fetch(new URL(path.slice(1), this.#router), {
      method,
      headers: sent,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    while (this.#open > 0) {
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve;
      });
    }
    this.#note({
      answer: { status: response.status, ...this.#describe(Object.fromEntries(response.headers), bytes, ANSWER) },
    });
  }

  /** Waits until the link is there. */
  async opened(): Promise<void> {
    while (!this.steps.some((step) => 'open' in step)) {
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve;
      });
    }
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const isLink = request.url?.endsWith('/events') === true;
    const pieces: Buffer[] = [];
    let step: Extract<Step, { post: unknown }> | undefined;
    if (!isLink) this.#open++;
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    const absolute = `http://${request.headers.host}${request.url}`;
    if (!isLink) {
      const url = this.#names.get(absolute) ?? String(request.url);
      step = { post: { method: String(request.method), url, ...this.#describe(request.headers, body) } };
      this.steps.push(step);
    }
    const { hostname, port } = this.#router;
    const onward = http.request({
      hostname,
      port,
      method: request.method,
      path: request.url,
      headers: request.headers,
    });
    onward.end(body);
    const [reply] = (await once(onward, 'response')) as [IncomingMessage];
    if (isLink) {
      this.#name('link', String(reply.headers['relay-link-id']));
      this.#noteOpen('sse', request);
    }
    const answer: Buffer[] = [];
    response.writeHead(reply.statusCode ?? 0, reply.headers);
    reply.on('error', () => response.destroy());
    for await (const piece of reply) {
      answer.push(piece as Buffer);
      for (const [, data = ''] of isLink ? String(piece).matchAll(/^data: (\{"command".*)$/gm) : [])
        this.#noteCommand(data);
      response.write(piece);
    }
    if (step !== undefined) {
      const bytes = Buffer.concat(answer);
      this.#learn(bytes, reply.headers.etag);
      step.reply = { status: reply.statusCode ?? 0, ...this.#describe(reply.headers, bytes, REPLY) };
    }
    response.end();
    if (!isLink) this.#open--;
    this.#wakeUp?.();
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const url = `${this.#router.href.replace('http', 'ws').replace(/\/$/, '')}${request.url}`;
    const { 'sec-websocket-protocol': offered } = request.headers;
    const relayed = Object.entries(request.headers).filter(([name]) => name === 'host' || name.startsWith('relay-'));
    const onward = new WebSocket(url, offered, { headers: Object.fromEntries(relayed) as Headers });
    onward.on('open', () =>
      this.#sockets.handleUpgrade(request, socket, head, (peer) => {
        this.#noteOpen('websocket', request, offered);
        onward.on('message', (data) => {
          this.#noteCommand((data as Buffer).toString());
          peer.send((data as Buffer).toString());
        });
        peer.on('message', (data, isBinary) => {
          this.#noteSaid(data as Buffer, isBinary);
          onward.send(data, { binary: isBinary });
        });
        peer.on('close', () => onward.terminate());
        onward.on('close', () => peer.terminate());
        this.#wakeUp?.();
      }),
    );
  }

  #noteOpen(open: 'websocket' | 'sse', request: IncomingMessage, offered?: string): void {
    const { headers } = this.#describe(request.headers, Buffer.alloc(0));
    const { 'relay-instance': _own, ...said } = headers;
    const subprotocol = offered === undefined ? {} : { 'sec-websocket-protocol': offered };
    this.#note({ open, path: String(request.url), headers: { ...said, ...subprotocol } });
  }

  #noteCommand(text: string): void {
    const command = JSON.parse(text) as { request_id: string; upload?: { url: string; download_url: string } };
    this.#name('request', command.request_id);
    if (command.upload !== undefined) this.#name('upload_url', command.upload.url);
    if (command.upload !== undefined) this.#name('object_url', command.upload.download_url);
    this.#note({ command: this.#clean(command) as Json });
  }

  #noteSaid(message: Buffer, isBinary: boolean): void {
    const end = isBinary ? message.indexOf('\n') : message.length;
    const json = this.#clean(JSON.parse(message.toString('utf8', 0, end))) as Json;
    const { body } = isBinary ? describeBody(message.subarray(end + 1), false) : {};
    this.#note({ say: { json, ...(isBinary && { bytes: body ?? { zeros: 0 } }) } });
  }

  /** Finds what a reply tells for the first time: the URLs of parts, and what a store calls them. */
  #learn(body: Buffer, etag: string | undefined): void {
    if (etag !== undefined) this.#name('stored', etag);
    if (!body.includes('"part_number"')) return;
    const { parts } = JSON.parse(body.toString()) as { parts: { url: string }[] };
    for (const { url } of parts) this.#name('part_url', url);
  }

  #name(kind: string, value: string): void {
    if (this.#names.has(value)) return;
    const count = [...this.#names.values()].filter((name) => name.startsWith(`{${kind}_`)).length;
    this.#names.set(value, `{${kind}_${count + 1}}`);
  }

  /** @param shown the headers that are looked at in an answer; of a request all but its client's own are. */
  #describe(headers: http.IncomingHttpHeaders, body: Buffer, shown?: RegExp): { headers: Headers } {
    const kept = Object.entries(headers).filter(([name]) => shown?.test(name) ?? !OWN.test(name));
    // A binary POST is one whatever its type says.
    const isBinary = shown === undefined && headers['relay-request-id'] !== undefined;
    const isJson = !isBinary && String(headers['content-type']).includes('json');
    return this.#clean({ headers: Object.fromEntries(kept), ...describeBody(body, isJson) }) as { headers: Headers };
  }

  #clean(value: unknown, key = ''): unknown {
    if (FRESH.has(key)) return '{*}';
    if (typeof value === 'string') return this.#names.get(value) ?? (UNNAMED.has(key) ? '{*}' : value);
    if (Array.isArray(value)) return value.map((item) => this.#clean(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.#clean(item, name)]));
  }

  #note(step: Step): void {
    this.steps.push(step);
    this.#wakeUp?.();
  }
}

/** Everything that an app can ask of a connector. */
async function askAll(recorder: Recorder): Promise<void> {
  const small = { mac: MAC, dataset: 'größe 1.csv' };
  await recorder.ask('GET', `/connectors/${MAC}/datasets`);
  await recorder.ask('HEAD', `/connectors/${MAC}/datasets/${encodeURIComponent(small.dataset)}`);
  for (const headers of [{}, { 'want-repr-digest': 'sha-256=1' }] as Headers[]) {
    await recorder.ask('POST', '/datasets/request-sync', small, headers);
    await recorder.ask('POST', '/datasets/request-sync', small, { ...headers, accept: 'application/octet-stream' });
    await recorder.ask('POST', '/datasets/request-stream', small, headers);
  }
  await recorder.ask('POST', '/datasets/request-stream', { mac: MAC, dataset: 'empty' });
  await recorder.ask('POST', '/datasets/request-offload', small);
  await recorder.ask('POST', '/datasets/request-offload', { mac: MAC, dataset: 'large.bin' });
  await recorder.ask('POST', '/datasets/request-digest', small);
  for (const pattern of ['sync', 'stream', 'offload']) {
    await recorder.ask('POST', `/datasets/request-${pattern}`, { mac: MAC, dataset: 'nothing' });
  }
}

/** Records one connector. @param start begins it at a router, and gives how to end it. */
async function record(
  name: string,
  start: (router: string, dataDir: string) => () => Promise<void>,
  directory: string,
): Promise<void> {
  await using router = await startRouter();
  await using data = await makeTempDir();
  writeFileSync(join(data.path, 'größe 1.csv'), 'zeit,größe\n1,2\n');
  writeFileSync(join(data.path, 'empty'), '');
  writeFileSync(join(data.path, 'large.bin'), Buffer.alloc(17 * 1024 * 1024));
  const recorder = new Recorder(router.url);
  const stop = start(await recorder.listen(), data.path);
  await recorder.opened();
  await askAll(recorder);
  await stop();
  recorder.close();
  const lines = recorder.steps.map((step) => `${JSON.stringify(step)}\n`);
  writeFileSync(join(directory, `${name}.jsonl`), lines.join(''));
}

/** Records every kind of connector of today into files of a directory. */
export async function recordDialogues(directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  for (const transport of ['websocket', 'sse'] as const) {
    await record(`relay-${transport}`, (url, dataDir) => startConnector(url, dataDir, transport), directory);
  }
  await record('plain-sse', startExample, directory);
}

function startConnector(url: string, dataDir: string, transport: 'websocket' | 'sse'): () => Promise<void> {
  const options = { mac: MAC as Mac, dataDir, transport, version: '0.1.0', logger: silentLogger() };
  const connector = new Connector({ routerUrl: new URL(url), ...options });
  const done = connector.run();
  return async () => {
    await connector.close();
    await done;
  };
}

/** A connector that says of itself nothing at all. */
function startExample(url: string, dataDir: string): () => Promise<void> {
  const script = join(import.meta.dirname, '../../examples/connector.py');
  const child = spawn('python3', [script, url, MAC, dataDir, 'sse'], { stdio: 'ignore' });
  return async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
}

if (import.meta.main) await recordDialogues(process.argv[2] as string);
