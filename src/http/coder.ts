import type { IncomingMessage } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { RelayError } from '../protocol/errors.ts';
import { type Coding, CODINGS } from './content-coding.ts';

/** How content is coded: `thorough` makes a tenth less of it or so, at a third of the speed. */
export interface Encoding {
  readonly coding: Coding;
  readonly effort: Effort;
}
type Effort = 'quick' | 'thorough';

/** Where zstd gives most of what it can at little cost, and where much more of it brings little; gzip's own default. */
const ZSTD_LEVELS: Readonly<Record<Effort, number>> = { quick: 3, thorough: 7 };
const GZIP_LEVEL = 6;

/** Most that a sender may make a decoder of zstd remember, as a power of two: 8 MiB, which RFC 9659 has all understand. */
const ZSTD_WINDOW_LOG = 23;

/** What a coder that also reads and sends gets done of what it did with a sample. */
const SUSTAINED = 0.6;

/** Coding has to save this part of the time: less is not worth the work. */
const WORTH = 0.1;

/** Length of the pieces that come out, in bytes, as of those that sockets give. */
const PIECE_BYTES = 64 * 1024;

const { ZSTD_c_compressionLevel, ZSTD_c_windowLog, ZSTD_d_windowLogMax } = zlib.constants;
const zstdParams = (effort: Effort): zlib.ZstdOptions => ({
  params: { [ZSTD_c_compressionLevel]: ZSTD_LEVELS[effort] },
});

/**
 * How many coders at once take what they like, which is 8 MiB at the most effort. All others take 1.3 MiB, and a quarter of a
 * MiB where it is decoded.
 */
const LARGE_CODERS = 4;
const SMALL_ZSTD: zlib.ZstdOptions = {
  params: { [ZSTD_c_compressionLevel]: ZSTD_LEVELS.quick, [ZSTD_c_windowLog]: 18 },
};
let coders = 0;

/** Makes a stream that codes what is written to it. Destroy it, or read it to its end. */
export function createEncoder({ coding, effort }: Encoding): Transform {
  if (coding !== 'zstd') return zlib.createGzip({ level: GZIP_LEVEL, chunkSize: PIECE_BYTES });
  const options = coders < LARGE_CODERS ? zstdParams(effort) : SMALL_ZSTD;
  coders++;
  return zlib.createZstdCompress({ ...options, chunkSize: PIECE_BYTES }).once('close', () => {
    coders--;
  });
}

/** What a coding makes of some content. */
export interface Sample {
  /** Coded length by plain length. */
  readonly ratio: number;
  /** What a coder that also reads and sends will get done, in bytes of content a millisecond. */
  readonly speed: number;
}

/** What took longer was interrupted, most likely, in ms: it says nothing of the coder, and is done again, so often in all. */
const INTERRUPTED_MS = 1;
const SAMPLE_TRIES = 3;

/** Codes a little to see what comes of it. It takes half a millisecond or so for 64 KiB. */
export function takeSample(coding: Coding, content: Buffer): Sample {
  let bestMs = Infinity;
  let length = 0;
  for (let left = SAMPLE_TRIES; left > 0 && bestMs > INTERRUPTED_MS; left--) {
    const from = performance.now();
    ({ length } =
      coding === 'zstd'
        ? zlib.zstdCompressSync(content, zstdParams('quick'))
        : zlib.gzipSync(content, { level: GZIP_LEVEL }));
    bestMs = Math.min(bestMs, performance.now() - from);
  }
  return { ratio: length / content.length, speed: (SUSTAINED * content.length) / bestMs };
}

/** Whether content like this is ever worth coding. */
export const isCompressible = ({ ratio }: Sample): boolean => ratio <= 1 - WORTH;

/** From this rate on, 2 Gbit/s in bytes a millisecond, the cores at both ends are shorter than the line. */
const FAST_LINE = 250_000;

/**
 * Whether coding saves time on a line of so many bytes a millisecond: coder and line work at once, so that the slower of the
 * two counts.
 */
export const isWorthCoding = ({ ratio, speed }: Sample, rate: number): boolean =>
  rate < FAST_LINE && Math.max(1 / speed, ratio / rate) < (1 - WORTH) / rate;

/** Makes a stream that decodes what is written to it. */
export function createDecoder(coding: Coding): Transform {
  return coding === 'zstd'
    ? zlib.createZstdDecompress({ params: { [ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG }, chunkSize: PIECE_BYTES })
    : zlib.createGunzip({ chunkSize: PIECE_BYTES });
}

/** The coding of a body. @throws {RelayError} invalid_request for one that is not understood. */
export function readCoding({ headers }: IncomingMessage): Coding | undefined {
  const given = headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (given === 'identity' || given === '') return undefined;
  const coding = CODINGS.find((each) => each === given);
  if (coding !== undefined) return coding;
  throw new RelayError('invalid_request', `Content-Encoding: is ${given}, and only ${CODINGS.join(' and ')} are taken`);
}

/**
 * The content of a body, decoded where that is coded: as much as is asked for at a time. When the body breaks off, what
 * came before is there.
 * @throws {RelayError} invalid_request for a coding that is not understood
 */
export function decodeBody(message: IncomingMessage): Readable {
  const coding = readCoding(message);
  if (coding === undefined) return message;
  const decoder = createDecoder(coding);
  const breakOff = (cause?: Error): void => {
    if (!message.readableEnded)
      decoder.destroy(new RelayError('transfer_interrupted', 'the body broke off', { ...(cause && { cause }) }));
  };
  message.once('error', breakOff);
  message.once('close', () => breakOff());
  // Whoever does not want the rest of it lets it go: the message must not wait for a decoder that is gone.
  decoder.once('close', () => message.resume());
  message.pipe(decoder);
  return decoder;
}

/** What an error of a body that was being read means. */
export function toBodyError(cause: unknown): RelayError {
  if (cause instanceof RelayError) return cause;
  const { code = '', message } = cause as NodeJS.ErrnoException;
  // A body that ends in the middle of what is coded: something on the way may have cut it.
  const isGarbled = /^(Z_|ZSTD_)/.test(code) && code !== 'Z_BUF_ERROR';
  return isGarbled
    ? new RelayError('invalid_request', `the body cannot be decoded: ${message}`, { cause })
    : new RelayError('transfer_interrupted', 'the body broke off', { cause });
}
