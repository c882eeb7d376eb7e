import { closeSync, openSync, readFileSync } from 'node:fs';
import { findProgram } from '../../scripts/test-programs.mjs';

/** The right to mount (capabilities(7): CAP_SYS_ADMIN). */
const MAY_MOUNT = 1n << 21n;

/** Why a file system of FUSE cannot be mounted on this machine; undefined where it can. */
export async function whyNoFuse(): Promise<string | undefined> {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    await findProgram('fusermount3');
  } catch (error) {
    return (error as Error).message;
  }
  // Others than root have it from fusermount3.
  if (process.geteuid?.() !== 0) return undefined;
  const [, rights = '0'] = /^CapEff:\s*([\da-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return (BigInt(`0x${rights}`) & MAY_MOUNT) === 0n
    ? 'root has not the right to mount here (CAP_SYS_ADMIN)'
    : undefined;
}
