import { silentLogger } from '../../../src/observability/logger.ts';
import type { Capability } from '../../../src/protocol/capabilities.ts';
import type { Command } from '../../../src/protocol/commands.ts';
import type { DatasetName } from '../../../src/protocol/dataset-name.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import type { Hello, Link } from '../../../src/router/links/link.ts';

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
      ...hello,
    };
  }

  send(command: Command): boolean {
    if (this.open) this.sent.push(command);
    return this.open;
  }

  close(code: number, reason: string): void {
    this.open = false;
    this.closed.push({ code, reason });
  }

  terminate(): void {
    this.open = false;
  }
}
