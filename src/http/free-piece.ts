/**
 * Gives the memory of a piece of a body back at once. Left to the garbage collector, which hardly sees what buffers weigh,
 * some 60 MiB of them pile up, and each new one is cold memory: twice the CPU time a byte. Only for a piece that nobody else
 * holds, and not while the parser that made it is still running, so never in a `data` listener itself.
 */
export function freePiece({ buffer, byteLength }: Uint8Array): void {
  // A piece that is a window into something larger is not alone in it, and an empty one may be everybody's.
  if (byteLength > 0 && byteLength === buffer.byteLength && 'transfer' in buffer) buffer.transfer(0);
}
