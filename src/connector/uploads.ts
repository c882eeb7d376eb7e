import { RelayError } from '../protocol/errors.ts';

/** An upload under way. Disposing of it says that it has ended. */
export interface Turn extends Disposable {
  /** Fires when another takes over. */
  readonly signal: AbortSignal;
}

interface Entry {
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

/**
 * The uploads under way, by the object that they make: one at a time for each, since two that send the same parts would
 * overwrite what the other has counted.
 */
export class Uploads {
  readonly #entries = new Map<string, Entry>();

  /** Stops the upload of this object that is under way, if any, and resolves when it has ended. @throws the signal's reason. */
  async enter(object: string, signal: AbortSignal): Promise<Turn> {
    const older = this.#entries.get(object);
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const entry: Entry = { controller: new AbortController(), ended };
    this.#entries.set(object, entry);
    older?.controller.abort(new RelayError('cancelled', 'the upload was asked for again and goes on there'));
    await older?.ended;
    const turn = {
      signal: entry.controller.signal,
      [Symbol.dispose]: (): void => {
        if (this.#entries.get(object) === entry) this.#entries.delete(object);
        end();
      },
    };
    if (!signal.aborted && !entry.controller.signal.aborted) return turn;
    turn[Symbol.dispose]();
    signal.throwIfAborted();
    throw entry.controller.signal.reason;
  }
}
