/** A running SHA-256 of bytes that come one after another. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  /** Ends it, as the value of a digest field, `sha-256=:…:` (RFC 9530 §2). */
  finish(): string;
}

interface BuiltIn {
  createHash(name: 'sha256'): { update(bytes: Uint8Array): unknown; digest(encoding: 'base64'): string };
}

/**
 * Begins a SHA-256: the platform's own where it has one that takes bytes as they come, as Node.js, Bun and Deno do. Browsers
 * have one for whole buffers only, so there it is computed here, some 100 MB a second.
 */
export function createSha256(platform: { getBuiltinModule?(id: string): unknown } = globalThis.process): Sha256 {
  const builtIn = platform?.getBuiltinModule?.('node:crypto') as BuiltIn | undefined;
  if (builtIn === undefined) return new PlainSha256();
  const hash = builtIn.createHash('sha256');
  return { update: (bytes) => hash.update(bytes), finish: () => `sha-256=:${hash.digest('base64')}:` };
}

const BLOCK_BYTES = 64;

/** FIPS 180-4 §4.2.2 and §5.3.3: the first bits of the fractions of the roots of primes. */
const PRIMES = Array.from({ length: 312 }, (_, n) => n).filter((n) => n > 1 && isPrime(n));
const K = Int32Array.from(PRIMES.slice(0, 64), (prime) => fractionBits(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fractionBits(Math.sqrt(prime)));

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor += 1) if (n % divisor === 0) return false;
  return true;
}

function fractionBits(root: number): number {
  return ((root - Math.floor(root)) * 2 ** 32) | 0;
}

class PlainSha256 implements Sha256 {
  readonly #state = START.slice();
  readonly #words = new Int32Array(64);
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #length = 0;

  update(bytes: Uint8Array): void {
    let at = 0;
    const held = this.#length % BLOCK_BYTES;
    this.#length += bytes.length;
    if (held > 0) {
      at = Math.min(BLOCK_BYTES - held, bytes.length);
      this.#rest.set(bytes.subarray(0, at), held);
      if (held + at < BLOCK_BYTES) return;
      this.#compress(this.#rest, 0);
    }
    for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) this.#compress(bytes, at);
    this.#rest.set(bytes.subarray(at));
  }

  finish(): string {
    const length = this.#length;
    const padded = new Uint8Array(BLOCK_BYTES * (length % BLOCK_BYTES < 56 ? 1 : 2) - (length % BLOCK_BYTES));
    padded[0] = 0x80;
    new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(length) * 8n);
    this.update(padded);
    const digest = new DataView(new ArrayBuffer(32));
    for (const [index, word] of this.#state.entries()) digest.setInt32(index * 4, word);
    return `sha-256=:${btoa(String.fromCharCode(...new Uint8Array(digest.buffer)))}:`;
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#words;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, BLOCK_BYTES);
    for (let i = 0; i < 16; i += 1) w[i] = view.getInt32(i * 4);
    for (let i = 16; i < 64; i += 1) {
      const early = w[i - 15] as number;
      const late = w[i - 2] as number;
      const low = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
      const high = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
      w[i] = ((w[i - 16] as number) + low + (w[i - 7] as number) + high) | 0;
    }
    const state = this.#state;
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i += 1) {
      const sum = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const one = (h + sum + ((e & f) ^ (~e & g)) + (K[i] as number) + (w[i] as number)) | 0;
      const two = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    for (const [index, word] of [a, b, c, d, e, f, g, h].entries())
      state[index] = ((state[index] as number) + word) | 0;
  }
}

const rotate = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));
