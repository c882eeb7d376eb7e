import type * as Library from '../../src/index.ts';

/** Where a tour leads. */
export interface TourPlan {
  readonly mac: string;
  readonly token: string;
  /** The router. */
  readonly url: string;
  /** The router, by a line on which bytes are counted. */
  readonly textUrl: string;
  /** The router, by a line that breaks once within a dataset. */
  readonly cutUrl: string;
  /** The router, by a line on which a bit of a dataset is another. */
  readonly flipUrl: string;
  /** Where nobody listens. */
  readonly deadUrl: string;
}

/** What came of each step, as JSON has it. */
export type TourReport = Record<string, unknown>;

/** What every step has. */
interface Tour {
  readonly library: typeof Library;
  readonly plan: TourPlan;
  readonly client: Library.RelayClient;
}

const CSV = 'measurements.csv';
const BIG = 'big.bin';
const ODD = 'shift 1/ü "q"; é😀.csv';

/**
 * What a program does with the library, with nothing in it that not every platform has: Node.js, Bun, Deno and a page of a
 * browser take it alike. A step that fails has its error in the report, and the others go on.
 */
export async function runTour(library: typeof Library, plan: TourPlan): Promise<TourReport> {
  const client = new library.RelayClient({ baseUrl: plan.url, token: plan.token });
  return takeSteps(STEPS, { library, plan, client });
}

/** Takes steps one after the other. */
export async function takeSteps<T>(
  steps: Readonly<Record<string, (tour: T) => Promise<unknown>>>,
  tour: T,
): Promise<TourReport> {
  const report: TourReport = {};
  for (const [name, step] of Object.entries(steps)) {
    report[name] = await step(tour).catch((error: unknown) => `${error} (${(error as { code?: string }).code})`);
  }
  return report;
}

const STEPS: Readonly<Record<string, (tour: Tour) => Promise<unknown>>> = {
  connectors: async ({ client }) => (await collect(client.connectors())).map(({ mac, state }) => [mac, state]),

  datasets: async ({ client, plan }) =>
    (await collect(client.datasets(plan.mac))).map(({ name, size }) => [name, size]),

  stat: async ({ client, plan }) => {
    const { size, etag, acceptsRanges } = await client.stat(plan.mac, ODD);
    return [size, typeof etag, acceptsRanges];
  },

  'a text, compressed on its way': async ({ library, plan }) => {
    const client = new library.RelayClient({ baseUrl: plan.textUrl, token: plan.token });
    return hash(await client.open(plan.mac, CSV));
  },

  'the whole': async ({ client, plan }) => {
    const opened = await client.open(plan.mac, BIG, { requireDigest: true });
    return [opened.size, await hash(opened)];
  },

  'a range': async ({ client, plan }) => {
    const { etag } = await client.stat(plan.mac, BIG);
    return hash(await client.open(plan.mac, BIG, { offset: 1000, length: 3_000_000, etag }));
  },

  'the whole, over a line that breaks': async ({ library, plan }) => {
    const client = new library.RelayClient({ baseUrl: plan.cutUrl, token: plan.token });
    const offsets: number[] = [];
    const opened = await client.open(plan.mac, BIG, { onInterruption: (_, offset) => void offsets.push(offset) });
    const digest = await hash(opened);
    return [digest, offsets.length, offsets.every((offset) => offset > 0)];
  },

  'the whole, over a line that tells another': ({ library, plan }) => {
    const client = new library.RelayClient({ baseUrl: plan.flipUrl, token: plan.token });
    return codeOf(library, async () => hash(await client.open(plan.mac, BIG)));
  },

  'a part that nothing verifies': ({ client, library, plan }) =>
    codeOf(library, async () => hash(await client.open(plan.mac, BIG, { offset: 7, length: 7, requireDigest: true }))),

  'a stream': async ({ client, plan }) => {
    const { body } = await client.requestStream(plan.mac, BIG);
    return hash(iterate(body));
  },

  'broken off': async ({ client, plan }) => {
    for await (const piece of await client.open(plan.mac, BIG)) return piece.length > 0;
    return 'no byte came';
  },

  aborted: async ({ client, plan }) => {
    const reason = new Error('enough');
    const controller = new AbortController();
    const opened = await client.open(plan.mac, BIG, { signal: controller.signal });
    try {
      for await (const _ of opened) controller.abort(reason);
      return 'it went on to the end';
    } catch (error) {
      return error === reason;
    }
  },

  'aborted before it began': async ({ client, plan }) => {
    try {
      await client.stat(plan.mac, BIG, { signal: AbortSignal.abort() });
      return 'it was answered';
    } catch (error) {
      return (error as Error).name;
    }
  },

  'no such dataset': async ({ client, library, plan }) => {
    try {
      await client.open(plan.mac, 'no-such.csv');
      return 'there is one';
    } catch (error) {
      if (!(error instanceof library.RelayError)) throw error;
      return [error.code, error.retryable, typeof error.details.request_id];
    }
  },

  'a token that is none': ({ library, plan }) =>
    codeOf(library, () => new library.RelayClient({ baseUrl: plan.url, token: 'none' }).stat(plan.mac, CSV)),

  'nobody there': ({ library, plan }) =>
    codeOf(library, () => new library.RelayClient({ baseUrl: plan.deadUrl }).stat(plan.mac, CSV)),

  'a name that is none': ({ client, library }) => codeOf(library, () => client.stat('cc-28', CSV)),

  sync: async ({ client, plan }) => {
    const { data, encoding } = await client.requestSync(plan.mac, CSV);
    return [await hash([new TextEncoder().encode(data)]), encoding];
  },

  digest: async ({ client, plan }) => (await client.requestDigest(plan.mac, BIG)).digest,

  offloaded: async ({ client, plan }) => {
    const answer = await fetch(await client.offloadUrl(plan.mac, BIG));
    return [answer.status, await hash([await bytesOf(answer)])];
  },

  'offloaded, a range of it': async ({ client, plan }) => {
    const answer = await fetch(await client.offloadUrl(plan.mac, BIG), { headers: { Range: 'bytes=1000-3000999' } });
    return [answer.status, answer.headers.get('Content-Range'), await hash([await bytesOf(answer)])];
  },

  'offloaded, verified': async ({ client, library, plan }) => {
    const { body } = library.downloadOffloaded(await client.requestOffload(plan.mac, BIG));
    return hash(iterate(body));
  },

  'a signed URL': async ({ client, plan }) => {
    const { etag } = await client.stat(plan.mac, CSV);
    const { url, expires_at } = await client.signedUrl(plan.mac, CSV, { expiresIn: 60 });
    const answer = await fetch(url, { headers: { Range: 'bytes=5-11' } });
    const isSame = answer.headers.get('ETag') === etag;
    return [answer.status, await answer.text(), answer.headers.get('Content-Range'), isSame, typeof expires_at];
  },

  'only if it is another': async ({ client, plan }) => {
    const { etag = '' } = await client.stat(plan.mac, CSV);
    const headers = { Authorization: `Bearer ${plan.token}`, 'If-None-Match': etag };
    return (await fetch(client.datasetUrl(plan.mac, CSV), { cache: 'no-store', headers })).status;
  },

  'by way of the store': async ({ client, plan }) => {
    const headers = { Authorization: `Bearer ${plan.token}` };
    const answer = await fetch(`${client.datasetUrl(plan.mac, BIG)}?via=offload`, { headers });
    return [answer.status, answer.redirected, await hash([await bytesOf(answer)])];
  },
};

/** The code of the error that something ends with. */
async function codeOf(library: typeof Library, what: () => Promise<unknown>): Promise<string> {
  try {
    await what();
    return 'no error';
  } catch (error) {
    if (!(error instanceof library.RelayError)) throw error;
    return error.code;
  }
}

async function collect<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const bytesOf = async (answer: Response): Promise<Uint8Array> => new Uint8Array(await answer.arrayBuffer());

/** Not every browser lets a stream be iterated. */
async function* iterate(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** SHA-256 in hex, of what is read to its end. */
async function hash(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
  const whole = await new Blob((await collect(pieces)) as BlobPart[]).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', whole));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
