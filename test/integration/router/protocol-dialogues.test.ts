import { expect, test } from '@jest/globals';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import http, { type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { WebSocket } from 'ws';
import { describeBody, type Message, Names, type Step, toBytes } from '../../protocol-dialogues/dialogue.ts';
import { recordDialogues } from '../../protocol-dialogues/record.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

const DIALOGUES = join(import.meta.dirname, '../../protocol-dialogues');

const recorded = readdirSync(DIALOGUES, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.jsonl'),
);

interface Received {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly bytes: Buffer;
}

/** The router of today, and a connector and an app that say what was recorded. */
class Replay implements Disposable {
  readonly #url: string;
  readonly #names = new Names();
  readonly #commands: unknown[] = [];
  #close: () => void = () => {};
  #socket: WebSocket | undefined;
  #wakeUp: () => void = () => {};
  #answer: Promise<Received> | undefined;

  constructor(url: string) {
    this.#url = url;
  }

  /** Does one step. @returns what was recorded and what came, where the router says something. */
  async play(step: Step): Promise<{ expected: unknown; actual: unknown } | undefined> {
    if ('open' in step) await (step.open === 'sse' ? this.#openEvents(step) : this.#openSocket(step));
    else if ('command' in step) return this.#names.expect(step.command, await this.#nextCommand());
    else if ('answer' in step) return this.#compare(step.answer, (await this.#answer) as Received);
    else if ('say' in step) this.#say(step.say);
    else if ('ask' in step) this.#answer = this.#send(step.ask.method, step.ask.path, step.ask);
    else {
      const received = await this.#send(step.post.method, this.#names.fill(step.post.url), step.post);
      if (step.reply !== undefined) return this.#compare(step.reply, received);
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  async #openSocket({ path, headers }: Extract<Step, { open: unknown }>): Promise<void> {
    const { 'sec-websocket-protocol': offered, ...said } = headers;
    const socket = new WebSocket(`${this.#url.replace('http', 'ws')}${path}`, offered, { headers: said });
    this.#socket = socket;
    this.#close = () => socket.terminate();
    socket.on('message', (data) => this.#take((data as Buffer).toString()));
    await once(socket, 'open');
  }

  #say({ json, bytes }: Extract<Step, { say: unknown }>['say']): void {
    const text = JSON.stringify(this.#names.fill(json));
    this.#socket?.send(
      bytes === undefined ? text : Buffer.concat([Buffer.from(`${text}\n`), toBytes(bytes, this.#names)]),
    );
  }

  async #openEvents({ path, headers }: Extract<Step, { open: unknown }>): Promise<void> {
    const request = http.get(`${this.#url}${path}`, { headers, agent: false });
    request.on('error', () => {});
    this.#close = () => request.destroy();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`no link: ${response.statusCode}`);
    this.#names.expect('{link_1}', response.headers['relay-link-id']);
    let text = '';
    response.on('error', () => {});
    response.setEncoding('utf8').on('data', (piece: string) => {
      const lines = (text + piece).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('data: {"command"')) this.#take(line.slice(6));
    });
  }

  #take(command: string): void {
    this.#commands.push(JSON.parse(command));
    this.#wakeUp();
  }

  async #nextCommand(): Promise<unknown> {
    while (this.#commands.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve;
      });
    }
    return this.#commands.shift();
  }

  async #send(method: string, url: string, { headers, body }: Message): Promise<Received> {
    const bytes = toBytes(body, this.#names);
    const request = http.request(new URL(url, this.#url), {
      method,
      headers: { ...this.#names.fill(headers), 'Content-Length': bytes.length },
      agent: false,
    });
    request.end(bytes);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const pieces: Buffer[] = [];
    for await (const piece of response) pieces.push(piece as Buffer);
    return { status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(pieces) };
  }

  #compare(message: Message & { status: number }, { status, headers, bytes }: Received) {
    const isJson = message.body !== undefined && 'json' in message.body;
    return this.#names.expect(message, { status, headers, ...describeBody(bytes, isJson) });
  }
}

/** Plays what a file has. @returns what was recorded and what came, step by step. */
async function replay(path: string): Promise<{ expected: unknown[]; actual: unknown[] }> {
  const steps = readFileSync(path, 'utf8').trimEnd().split('\n');
  await using router = await startRouter();
  using played = new Replay(router.url);
  const [expected, actual]: [unknown[], unknown[]] = [[], []];
  for (const [index, step] of steps.entries()) {
    const pair = await played.play(JSON.parse(step) as Step);
    if (pair === undefined) continue;
    expected.push({ line: index + 1, said: pair.expected });
    actual.push({ line: index + 1, said: pair.actual });
    // What comes after a difference may wait for ever.
    if (!isDeepStrictEqual(pair.expected, pair.actual)) break;
  }
  return { expected, actual };
}

test('there are dialogues of this version, over both links', () => {
  expect(recorded).toEqual(
    expect.arrayContaining(['v1/relay-websocket.jsonl', 'v1/relay-sse.jsonl', 'v1/plain-sse.jsonl']),
  );
});

test.each(recorded)('with a connector of a released version goes as it went: %s', async (name) => {
  const { expected, actual } = await replay(join(DIALOGUES, name));
  expect(actual).toEqual(expected);
});

test('with the connectors of today can be recorded, for the next release', async () => {
  await using directory = await makeTempDir();
  await recordDialogues(directory.path);
  for (const name of readdirSync(directory.path)) {
    const { expected, actual } = await replay(join(directory.path, name));
    expect(actual).toEqual(expected);
    expect(actual.length).toBeGreaterThan(40);
  }
});
