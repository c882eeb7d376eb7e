import { describePlan, makePlan } from './plan.ts';
import { runPlan, type RunReport } from './run.ts';
import { Site } from './site.ts';

export interface MatrixOptions {
  readonly seed: string;
  /** Which runs of the seed. */
  readonly indices: readonly number[];
  /** How many sites run beside each other. */
  readonly lanes: number;
  /** Ends all processes and what runs; `runMatrix` then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Told of each run when it has ended. */
  readonly onReport?: (report: RunReport) => void;
}

/** Runs the plans of a seed, each lane at a site of its own, and reports on each in order of their indices. */
export async function runMatrix({ seed, indices, lanes, signal, onReport }: MatrixOptions): Promise<RunReport[]> {
  const reports: RunReport[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    let site = await Site.start();
    const stop = (): void => void site[Symbol.asyncDispose]();
    signal?.addEventListener('abort', stop);
    try {
      while (next < indices.length) {
        signal?.throwIfAborted();
        const plan = makePlan(seed, indices[next++] as number);
        const report = await runPlan(site, plan);
        reports.push(report);
        onReport?.(report);
        if (!isBad(report)) continue;
        // What went wrong must not spoil the runs that follow.
        await site[Symbol.asyncDispose]();
        site = await Site.start();
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
      await site[Symbol.asyncDispose]();
    }
  };
  const workers = Array.from({ length: Math.min(lanes, indices.length) }, work);
  const results = await Promise.allSettled(workers);
  signal?.throwIfAborted();
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return reports.toSorted((a, b) => a.plan.index - b.plan.index);
}

/** Whether a run shows a defect. */
export const isBad = ({ verdict }: RunReport): boolean => verdict === 'wrong' || verdict === 'hung';

/** One line on a run. */
export const formatReport = ({ plan, verdict, detail, ms }: RunReport): string =>
  `${verdict.padEnd(8)} ${(ms / 1000).toFixed(1).padStart(5)} s  ${describePlan(plan)}${detail === '' ? '' : `: ${detail}`}`;
