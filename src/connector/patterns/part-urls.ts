import type { PartsGrant, PartsRequest, StoredPart } from '../../protocol/answers.ts';
import type { SignedRequest } from '../../protocol/commands.ts';
import type { RouterClient } from '../router-client.ts';

/** URLs are asked for so many at a time: few round trips, and none that expires long before its turn. */
const BATCH = 16;

/** The signed URLs of an upload's parts, asked for as they are needed. */
export class PartUrls {
  readonly partSize: number;
  /** How many parts there are. */
  readonly count: number;
  /** Whether a part may go up in pieces. */
  readonly takesRanges: boolean;
  /** Entity tags of the parts that the store has already, by number. */
  readonly done: ReadonlyMap<number, string>;
  readonly #request: (numbers: number[]) => Promise<PartsGrant>;
  readonly #urls = new Map<number, Promise<SignedRequest>>();

  private constructor(grant: PartsGrant, totalSize: number, request: (numbers: number[]) => Promise<PartsGrant>) {
    this.partSize = grant.part_size;
    this.count = Math.max(1, Math.ceil(totalSize / grant.part_size));
    this.takesRanges = grant.ranges === true;
    // A part of another length is none of this dataset.
    const isWhole = ({ part_number: n, size }: StoredPart): boolean =>
      n <= this.count && size === Math.min(this.partSize, totalSize - (n - 1) * this.partSize);
    this.done = new Map((grant.done ?? []).filter(isWhole).map(({ part_number: n, etag }) => [n, etag]));
    this.#request = request;
    this.#keep([1], Promise.resolve(grant));
  }

  /**
   * Asks for the first part, and so for the size of all of them.
   * @param wantDone whether to ask as well which parts are there already.
   */
  static async open(
    router: RouterClient,
    { requestId, totalSize, wantDone }: { requestId: string; totalSize: number; wantDone: boolean },
    signal: AbortSignal,
  ): Promise<PartUrls> {
    const request = (numbers: number[], more: Partial<PartsRequest> = {}): Promise<PartsGrant> =>
      router.postParts({ request_id: requestId, part_numbers: numbers, total_size: totalSize, ...more }, signal);
    return new PartUrls(await request([1], wantDone ? { want_done: true } : {}), totalSize, request);
  }

  /** The URL of a part, fetched together with those of the parts after it. */
  async find(number: number): Promise<SignedRequest> {
    if (!this.#urls.has(number)) {
      const numbers: number[] = [];
      for (let n = number; n <= this.count && numbers.length < BATCH && !this.#urls.has(n); n++) {
        if (!this.done.has(n)) numbers.push(n);
      }
      this.#keep(numbers, this.#request(numbers));
    }
    return this.#urls.get(number) as Promise<SignedRequest>;
  }

  /** Lets go of a URL that no longer works, and of those that came with it or before. */
  forget(number: number): void {
    this.#urls.delete(number);
  }

  #keep(numbers: readonly number[], grant: Promise<PartsGrant>): void {
    for (const number of numbers) {
      const url = grant.then(({ parts }) => {
        const part = parts.find((candidate) => candidate.part_number === number);
        if (part === undefined) throw new TypeError(`the router gave no URL for part ${number}`);
        return part;
      });
      url.catch(() => this.#urls.delete(number));
      this.#urls.set(number, url);
    }
  }
}
