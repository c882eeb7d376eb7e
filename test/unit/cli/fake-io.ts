import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import type { Io } from '../../../src/cli/io.ts';

/** A process that is none: what a command writes is kept, and signals come from the test. */
export class FakeIo implements Io {
  readonly stdin = new PassThrough();
  readonly signals = new EventEmitter();
  readonly surroundings: Io['surroundings'];
  #out = '';
  #err = '';
  readonly stdout = new Writable({
    write: (chunk, _encoding, done) => {
      this.#out += String(chunk);
      done();
    },
  });
  readonly stderr = new Writable({
    write: (chunk, _encoding, done) => {
      this.#err += String(chunk);
      done();
    },
  });

  constructor(env: Record<string, string> = {}, cwd = '/nowhere') {
    this.surroundings = { env, cwd };
  }

  /** What was written to standard output. */
  get out(): string {
    return this.#out;
  }

  /** What was written to standard error. */
  get err(): string {
    return this.#err;
  }
}
