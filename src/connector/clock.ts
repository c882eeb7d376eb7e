import { systemTimer, type Timer } from '../http/timer.ts';

/** Time and chance, passed in so that tests can hold both still. */
export interface Clock extends Timer {
  /** Evenly distributed in [0, 1). */
  random(): number;
}

/** The machine's own time and chance. */
export const systemClock: Clock = { ...systemTimer, random: Math.random };
