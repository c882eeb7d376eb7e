import { totalmem } from 'node:os';
import type { WindowBudget } from './window.ts';

/** From which part of what there is on memory counts as short. */
const SHORT = 0.8;

interface MemoryOptions {
  readonly window: Pick<WindowBudget, 'share'>;
  /** What the process takes, in bytes. Default its resident set, which leaves out what the system caches of files. */
  readonly used?: () => number;
  /** What it may take, in bytes. Default the limit of its control group, or all of the machine. */
  readonly limit?: () => number;
}

/** Whether a router has memory to spare for streams. */
export class Memory {
  readonly #options: Required<MemoryOptions>;

  constructor({ window, used = () => process.memoryUsage.rss(), limit = findLimit }: MemoryOptions) {
    this.#options = { window, used, limit };
  }

  /** Little is left of what parts ahead of their turn may take, or of what the process may. */
  get isShort(): boolean {
    const { window, used, limit } = this.#options;
    return window.share >= SHORT || used() >= SHORT * limit();
  }
}

/** Without a limit, the system names one that is beyond all memory, or 0. */
function findLimit(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
