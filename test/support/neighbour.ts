import { PlainConnector } from './plain-connector.ts';
import { ask } from './plain-app.ts';

/** The connector of a neighbour. */
export const NEIGHBOUR_MAC = 'cc-28-aa-00-00-01';

/** How long one request may take, in ms: generous, since the machine may be busy with what is done to the router. */
const LONGEST_ROUND_MS = 10_000;

const TEXT = 'the bytes of a good neighbour';

/**
 * A connector and an app that make one small request after the other, and check what they get. What is done to the router
 * meanwhile must not be noticed here.
 */
export class Neighbour implements AsyncDisposable {
  readonly #connector: PlainConnector;
  readonly #asking: Promise<void>;
  #isOver = false;
  #rounds = 0;
  #failure: Error | undefined;
  #wakeUp = Promise.withResolvers<void>();

  private constructor(connector: PlainConnector, url: string, token: string | undefined) {
    this.#connector = connector;
    void this.#answer();
    this.#asking = this.#ask(url, token === undefined ? {} : { Authorization: `Bearer ${token}` });
  }

  /** @param tokens of its connector and its app, where the router asks for some. */
  static async start(url: string, tokens: { connector?: string; app?: string } = {}): Promise<Neighbour> {
    const { connector: token } = tokens;
    const connector = await PlainConnector.connect(url, { mac: NEIGHBOUR_MAC, ...(token !== undefined && { token }) });
    return new Neighbour(connector, url, tokens.app);
  }

  /** Resolves when it has made `count` more requests. Rejects when one was not answered as it should be, or not in time. */
  async served(count: number): Promise<void> {
    const wanted = this.#rounds + count;
    while (this.#rounds < wanted) {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#wakeUp.promise;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#asking;
    await this.#connector[Symbol.asyncDispose]();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #answer(): Promise<void> {
    for (;;) {
      const { request_id } = await this.#connector.next();
      await this.#connector.post('/datasets/result', { request_id, data: TEXT }).catch((error: Error) => {
        this.#failure ??= error;
      });
    }
  }

  async #ask(url: string, headers: Record<string, string>): Promise<void> {
    while (!this.#isOver && this.#failure === undefined) {
      const { request, answer } = ask(url, '/datasets/request-sync', { mac: NEIGHBOUR_MAC, dataset: 'a.txt' }, headers);
      const late = setTimeout(
        () => request.destroy(new Error(`a neighbour was not served within ${LONGEST_ROUND_MS} ms`)),
        LONGEST_ROUND_MS,
      );
      try {
        const got = await answer;
        if (got.error !== undefined) throw got.error;
        const text = got.bytes.toString();
        if (got.status !== 200 || got.json()['data'] !== TEXT) throw new Error(`a neighbour got ${got.status} ${text}`);
        this.#rounds++;
      } catch (error) {
        this.#failure = error as Error;
      } finally {
        clearTimeout(late);
      }
      this.#wakeUp.resolve();
      this.#wakeUp = Promise.withResolvers();
    }
  }
}
