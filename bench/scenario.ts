import type { Processes } from './processes.ts';

/** What a scenario gets to work with. */
export interface Bench {
  /** How often each side is measured; the table shows medians. */
  readonly runs: number;
  /** Small sizes, to try out the benchmark itself. */
  readonly isQuick: boolean;
  /** A directory in memory of this scenario's own, removed afterwards. */
  readonly directory: string;
  /** Stopped after the scenario. */
  readonly processes: Processes;
  /** The program that makes a far network. */
  readonly farProgram: string;
  /** Says on standard error what is happening. */
  readonly say: (text: string) => void;
}

/** What a line is held to: the ratio of relay to its rival, or relay's own figure. */
export interface Target {
  readonly of: 'ratio' | 'relay';
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** What relay was compared with. Without figures, `missing` says why. */
export interface Rival {
  readonly name: string;
  readonly figures: readonly number[];
  readonly missing?: string;
}

/** One line of the table. */
export interface Line {
  readonly name: string;
  readonly unit: string;
  /** Without one it is there to be looked at. */
  readonly target?: Target;
  /** A figure for each run. None where it could not be measured; `missing` says why. */
  readonly relay: readonly number[];
  readonly missing?: string;
  readonly rival?: Rival;
}

/** One part of the benchmark, named on the command line. */
export interface Scenario {
  readonly name: string;
  run(bench: Bench): Promise<Line[]>;
}

/** nginx as the rival. @param nginx undefined where it is not installed. */
export const nginxRival = (nginx: object | undefined, figures: readonly number[]): Rival =>
  nginx === undefined ? { name: 'nginx', figures: [], missing: 'not installed' } : { name: 'nginx', figures };
