import { createEncoder, type Encoding } from '../../http/coder.ts';
import type { LineRate } from '../../http/line-rate.ts';
import type { BodyWriter } from '../http/send.ts';

/** What a body came to on its way. */
export interface BodyTally {
  /** Bytes that left. */
  bytes: number;
  /** Bytes of all bodies that left meanwhile, this one's included. */
  lineBytes: number;
  /** When it began, on the clock of `performance.now()`. */
  begunAt: number;
  /** How long pieces were read and coded while none was being sent, in ms. */
  madeMs: number;
}

export const newTally = (): BodyTally => ({ bytes: 0, lineBytes: 0, begunAt: 0, madeMs: 0 });

/** A body, coded where `encoding` says so, that keeps a tally, which begins anew when the body does. */
export function tallyBody(
  body: BodyWriter,
  { encoding, tally, line }: { encoding: Encoding | undefined; tally: BodyTally; line: LineRate },
): BodyWriter {
  return async (write) => {
    const carriedBefore = line.carried;
    tally.bytes = 0;
    tally.begunAt = performance.now();
    let sentMs = 0;
    const send = async (piece: Buffer): Promise<void> => {
      const from = performance.now();
      tally.bytes += piece.length;
      line.carried += piece.length;
      await write(piece);
      sentMs += performance.now() - from;
    };
    await (encoding === undefined ? body(send) : writeCoded(body, encoding, send));
    tally.lineBytes = line.carried - carriedBefore;
    tally.madeMs = performance.now() - tally.begunAt - sentMs;
  };
}

async function writeCoded(body: BodyWriter, encoding: Encoding, send: (piece: Buffer) => Promise<void>): Promise<void> {
  const encoder = createEncoder(encoding);
  const sending = (async (): Promise<void> => {
    for await (const piece of encoder) await send(piece as Buffer);
  })();
  // Its failure surfaces below; until then it must not count as unhandled.
  sending.catch(() => {});
  try {
    await body(async (piece) => {
      // Called back once the piece is coded, and its memory free again.
      const coded = new Promise<void>((resolve, reject) => {
        encoder.write(piece, (error) => (error ? reject(error) : resolve()));
      });
      coded.catch(() => {});
      // Sending ends before the last piece only by failing.
      await Promise.race([coded, sending]);
    });
    encoder.end();
    await sending;
  } finally {
    encoder.destroy();
  }
}
