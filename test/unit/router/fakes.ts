import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Capability } from '../../../src/protocol/capabilities.ts';
import type { Command, Receiving } from '../../../src/protocol/commands.ts';
import type { DatasetName } from '../../../src/protocol/dataset-name.ts';
import type { RelayError } from '../../../src/protocol/errors.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { Grant } from '../../../src/router/access/grant.ts';
import type { ExchangeOptions } from '../../../src/router/exchange.ts';
import type { Hello, Link } from '../../../src/router/links/link.ts';
import type { Completion, Sink, TransferMeta } from '../../../src/router/sink.ts';

export const MAC = 'cc-28-aa-01-02-03' as Mac;
export const OTHER_MAC = 'cc-28-aa-01-02-04' as Mac;
export const DATASET = 'a.csv' as DatasetName;
export const logger = silentLogger();

/** A link that remembers what went down it. */
export class FakeLink implements Link {
  static #made = 0;
  readonly id = `link-${++FakeLink.#made}`;
  readonly kind = 'websocket';
  readonly hello: Hello;
  readonly sent: Command[] = [];
  readonly events: Receiving[] = [];
  readonly closed: { code: number; reason: string }[] = [];
  open = true;

  constructor(capabilities: readonly Capability[] = [], hello: Partial<Hello> = {}) {
    this.hello = {
      mac: MAC,
      capabilities: new Set(capabilities),
      version: null,
      name: null,
      labels: {},
      instance: null,
      remote: '127.0.0.1:1',
      baseUrl: 'http://127.0.0.1',
      grant: Grant.everything,
      ...hello,
    };
  }

  send(message: Command | Receiving): boolean {
    if (!this.open) return false;
    if ('event' in message) this.events.push(message);
    else this.sent.push(message);
    return true;
  }

  close(code: number, reason: string): void {
    this.open = false;
    this.closed.push({ code, reason });
  }

  terminate(): void {
    this.open = false;
  }
}

/** Options of an exchange that fails into `errors`. */
export function exchangeOptions(
  id: string,
  overrides: Partial<ExchangeOptions> = {},
): ExchangeOptions & { errors: RelayError[] } {
  const errors: RelayError[] = [];
  return {
    id,
    mac: MAC,
    name: 'get_dataset_stream',
    command: () => ({ command: 'get_dataset_stream', request_id: id, dataset_name: DATASET }),
    resend: 'always',
    beginTimeoutMs: () => 1000,
    silenceTimeoutMs: () => 3000,
    answer: { fail: (error) => errors.push(error) },
    errors,
    ...overrides,
  };
}

/** A sink that remembers, and is full when it is told to be. */
export class FakeSink implements Sink {
  readonly pieces: Buffer[] = [];
  readonly begun: TransferMeta[] = [];
  readonly ends: { digest: string | undefined; bytes: Buffer }[] = [];
  full = false;
  refusal: RelayError | undefined;
  readonly #waiting: (() => void)[] = [];

  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }

  begin(meta: TransferMeta): void {
    if (this.refusal !== undefined) throw this.refusal;
    this.begun.push(meta);
  }

  write(bytes: Buffer): boolean {
    this.pieces.push(Buffer.from(bytes));
    return !this.full;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  drain(): void {
    this.full = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  end({ digest }: Completion): void {
    this.ends.push({ digest, bytes: this.bytes });
  }
}

/** A body that arrives piece by piece, as the test says: at once where it is not paused. */
export class FakeBody extends EventEmitter {
  #paused = false;
  readonly #queue: (() => void)[] = [];

  get message(): IncomingMessage {
    return this as unknown as IncomingMessage;
  }

  get paused(): boolean {
    return this.#paused;
  }

  pause(): this {
    this.#paused = true;
    return this;
  }

  resume(): this {
    this.#paused = false;
    while (!this.#paused && this.#queue.length > 0) this.#queue.shift()?.();
    return this;
  }

  arrive(bytes: Buffer): void {
    this.#do(() => this.emit('data', bytes));
  }

  finish(): void {
    this.#do(() => this.emit('end'));
    this.#do(() => this.emit('close'));
  }

  /** The connection is gone in the middle. */
  breakOff(): void {
    if (this.listenerCount('error') > 0) this.emit('error', new Error('aborted'));
    this.emit('close');
  }

  #do(event: () => void): void {
    if (this.#paused) this.#queue.push(event);
    else event();
  }
}
