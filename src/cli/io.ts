import type { Readable, Writable } from 'node:stream';
import type { Surroundings } from '../config/resolve.ts';

/** What a command may touch of the process that it runs in, so that tests can run it in their own. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** Environment and working directory, for the configuration. */
  readonly surroundings: Surroundings;
  /** Where `SIGINT`, `SIGTERM` and `SIGBREAK` are heard. */
  readonly signals: {
    on(signal: 'SIGINT' | 'SIGTERM' | 'SIGBREAK', listener: () => void): unknown;
    off(signal: 'SIGINT' | 'SIGTERM' | 'SIGBREAK', listener: () => void): unknown;
  };
}

/** What every command is made with. */
export interface CommandContext {
  readonly io: Io;
  /** Version of relay. */
  readonly version: string;
  /** Whether a shell only asks how a command line could go on: nothing is run or checked. */
  readonly completing: boolean;
}
