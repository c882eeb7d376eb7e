import { type Encoding, isCompressible, isWorthCoding, type Sample, takeSample } from '../../http/coder.ts';
import { CODINGS, type Coding } from '../../http/content-coding.ts';
import { RecentMap } from '../../recent-map.ts';
import type { Clock } from '../clock.ts';
import type { OpenDataset } from '../datasets/open.ts';
import { type LineRate, TELLING_MS } from '../../http/line-rate.ts';

const KIB = 1024;

/**
 * From how long a sending on coding is thought of, in ms: below it the look at the content costs more than it can save. And
 * from how many bytes on, where nobody knows the line's rate.
 */
const LEAST_MS = 10;
const LEAST_BYTES = 64 * KIB + 1;

/** Most to send in one coded body, in bytes of content: after it the line is looked at again. */
const MOST_BYTES = 16 * KIB * KIB;

/** A line of 16 Mbit/s leaves a coder time for more, in bytes a millisecond. */
const SLOW = 2000;

/** How much is looked at, and at how many places, evenly spread: the beginning of a file is often unlike the rest. */
const SAMPLE_BYTES = 16 * KIB;
const SAMPLES = 4;

/**
 * Plain bodies to begin with while nobody knows the line's rate, in bytes: each is tried when the one before it went faster
 * than can be measured.
 */
const TRIALS_BYTES = [64 * KIB, 1024 * KIB, 16 * 1024 * KIB] as const;

interface CodingsOptions {
  readonly lineRate: LineRate;
  readonly clock: Clock;
  /** Whether what is on the way lets coded bodies through, as far as that is known. */
  readonly mayCode: () => boolean;
}

/** How the next body is to be sent. */
export interface BodyPlan {
  readonly encoding: Encoding | undefined;
  /** Most bytes of the dataset to send in it. */
  readonly maxBytes: number;
}

/** Of how many datasets it is remembered at least. */
const REMEMBERED_SAMPLES = 1000;

const PLAIN: BodyPlan = { encoding: undefined, maxBytes: Infinity };

/**
 * Decides how datasets go: coded where a sample of them becomes smaller, and the line is so slow that this saves time. Only
 * the content and the line count, not a name or a type.
 */
export class Codings {
  readonly #options: CodingsOptions;
  /** By coding and entity tag. */
  readonly #samples = new RecentMap<string, Sample>(REMEMBERED_SAMPLES);

  constructor(options: CodingsOptions) {
    this.#options = options;
  }

  /**
   * Looks at a part of a dataset.
   * @param accepted the codings that the other side takes.
   * @returns undefined where it goes as it is.
   */
  async plan(
    dataset: OpenDataset,
    { start, end }: { readonly start: number; readonly end: number },
    accepted: readonly string[] | undefined,
  ): Promise<CodingPlan | undefined> {
    const { lineRate, clock, mayCode } = this.#options;
    const coding = CODINGS.find((each) => accepted?.includes(each));
    if (coding === undefined || !mayCode()) return undefined;
    const rate = lineRate.atLeast(clock.now());
    if (end - start < (rate > 0 ? rate * LEAST_MS : LEAST_BYTES)) return undefined;
    const sample = await this.#look(dataset, start, end, coding);
    return isCompressible(sample) ? new CodingPlan(coding, sample, this.#options) : undefined;
  }

  async #look(dataset: OpenDataset, start: number, end: number, coding: Coding): Promise<Sample> {
    const key = `${coding} ${dataset.facts.etag}`;
    const known = this.#samples.get(key);
    if (known !== undefined) return known;
    const sample = takeSample(coding, await readSample(dataset, start, end));
    this.#samples.set(key, sample);
    return sample;
  }
}

/** How one dataset goes, body by body. */
export class CodingPlan {
  readonly #coding: Coding;
  readonly #sample: Sample;
  readonly #options: CodingsOptions;

  constructor(coding: Coding, sample: Sample, options: CodingsOptions) {
    this.#coding = coding;
    this.#sample = sample;
    this.#options = options;
  }

  /** How the next body is to go. */
  next(): BodyPlan {
    const { lineRate, clock, mayCode } = this.#options;
    if (!mayCode()) return PLAIN;
    const now = clock.now();
    const rate = lineRate.known(now);
    if (rate !== undefined)
      return isWorthCoding(this.#sample, rate) ? { encoding: this.#encode(rate), maxBytes: MOST_BYTES } : PLAIN;
    const least = lineRate.atLeast(now);
    if (least > 0 && !isWorthCoding(this.#sample, least)) return PLAIN;
    return { encoding: undefined, maxBytes: TRIALS_BYTES.find((bytes) => bytes > least * TELLING_MS) ?? Infinity };
  }

  /** How one that cannot be divided is to go: where nobody knows the line, it is coded, and tells how fast that is. */
  get whole(): Encoding | undefined {
    const { lineRate, clock, mayCode } = this.#options;
    if (!mayCode()) return undefined;
    const now = clock.now();
    const rate = lineRate.known(now) ?? lineRate.atLeast(now);
    return rate === 0 || isWorthCoding(this.#sample, rate) ? this.#encode(lineRate.known(now)) : undefined;
  }

  /** How each of several bodies that go side by side is to go: over a line whose length, not its rate, is its limit. */
  get besides(): Encoding | undefined {
    const { lineRate, clock, mayCode } = this.#options;
    return mayCode() ? this.#encode(lineRate.known(clock.now())) : undefined;
  }

  #encode(rate: number | undefined): Encoding {
    return { coding: this.#coding, effort: rate !== undefined && rate < SLOW ? 'thorough' : 'quick' };
  }
}

/** Stretches of a dataset, evenly spread over the wanted part. */
async function readSample(dataset: OpenDataset, start: number, end: number): Promise<Buffer> {
  const sample = Buffer.allocUnsafe(Math.min(SAMPLE_BYTES * SAMPLES, end - start));
  const each = sample.length / SAMPLES;
  const reads = Array.from({ length: SAMPLES }, async (_, index) => {
    const from = Math.floor(index * each);
    const to = Math.floor((index + 1) * each);
    const position = start + Math.floor(((end - start - (to - from)) * index) / (SAMPLES - 1));
    for (let at = from; at < to; ) at += await dataset.read(sample.subarray(at), to - at, position + at - from);
  });
  await Promise.all(reads);
  return sample;
}
