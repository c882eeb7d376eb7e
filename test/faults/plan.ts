import type { Direction, LineFaultKind } from '../support/faulty-line.ts';

export type Pattern = 'A' | 'B' | 'C';
export type LinkKind = 'websocket' | 'sse';

/** Where the fault is: on one of five legs, or in a process. */
type Leg = 'link' | 'data' | 'app' | 'node-store' | 'app-store' | 'process';

/** A process that something happens to. */
export type Victim = 'router' | 'connector' | 'app' | 'store';

/** What happens to it: SIGKILL and a new start, SIGSTOP for 5 s, SIGTERM and a new start. */
type ProcessFaultKind = 'kill' | 'stop' | 'restart';

export type FaultKind = LineFaultKind | `${ProcessFaultKind} ${Victim}`;

/** One cell of the matrix. */
export interface Cell {
  readonly pattern: Pattern;
  readonly link: LinkKind;
  readonly leg: Leg;
  readonly fault: FaultKind;
}

/** How the dataset is asked for: by `relay app` into a file or to its standard output, or by curl with POST or GET. */
export type AppKind = 'file' | 'stdout' | 'curl-post' | 'curl-get';

/** One run: a cell, and everything about it that chance decides. */
export interface Plan extends Cell {
  readonly index: number;
  readonly sizeBytes: number;
  /** How long the bytes would take on the slowest leg without a fault, in ms. */
  readonly transferMs: number;
  readonly app: AppKind;
  /** Whether `relay app` waits for who is away. */
  readonly waits: boolean;
  /** Which side reaches the router through nginx at its defaults. */
  readonly nginx: 'app' | 'connector' | undefined;
  /** When it happens, as a part of the dataset that has passed by then, from 0 up to 1. */
  readonly at: number;
  /** How much later, in ms; for faults that need not hit a byte. */
  readonly delayMs: number;
  readonly direction: Direction;
  /** How long the whole line has the fault, in ms; 0 where only one connection has it. */
  readonly outageMs: number;
  /** How long a trickle lasts, in ms; undefined for as long as the connection. */
  readonly trickleMs: number | undefined;
  /** How long a process that was killed is away, in ms. */
  readonly awayMs: number;
}

const LINE_FAULTS: readonly LineFaultKind[] = ['rst', 'fin', 'cut', 'black-hole', 'trickle', 'flip', 'duplicate'];
const PROCESS_FAULTS: readonly ProcessFaultKind[] = ['kill', 'stop', 'restart'];

/** The columns of the matrix. */
export const FAULTS: readonly FaultKind[] = [...LINE_FAULTS, ...listProcessFaults()];

/** The way that the bytes of a dataset take over each leg. */
const BULK: Readonly<Record<Exclude<Leg, 'process'>, Direction>> = {
  link: 'down',
  data: 'up',
  app: 'down',
  'node-store': 'up',
  'app-store': 'down',
};

/** Every cell there is. */
export function listCells(): Cell[] {
  const cells: Cell[] = [];
  for (const pattern of ['A', 'B', 'C'] as const) {
    for (const link of ['websocket', 'sse'] as const) {
      const legs = pattern === 'C' ? (['link', 'data', 'app', 'node-store', 'app-store'] as const) : THROUGH_ROUTER;
      for (const leg of legs) {
        for (const fault of LINE_FAULTS) {
          // A link carries no body, and TCP and WebSocket have checksums and masks of their own.
          if (!(leg === 'link' && fault === 'flip')) cells.push({ pattern, link, leg, fault });
        }
      }
      for (const fault of listProcessFaults()) {
        if (pattern === 'C' || !fault.endsWith('store')) cells.push({ pattern, link, leg: 'process', fault });
      }
    }
  }
  return cells;
}

const THROUGH_ROUTER = ['link', 'data', 'app'] as const;

function listProcessFaults(): FaultKind[] {
  const faults: FaultKind[] = [];
  for (const kind of PROCESS_FAULTS) {
    for (const victim of ['router', 'connector', 'app', 'store'] as const) {
      // An app that gets SIGTERM cancels, and has tests of its own.
      if (!(kind === 'restart' && victim === 'app')) faults.push(`${kind} ${victim}`);
    }
  }
  return faults;
}

/**
 * What run `index` of a seed is. Every round of as many runs as there are cells has each cell once, in an order of its own.
 * Needs nothing of the runs before it.
 */
export function makePlan(seed: string, index: number): Plan {
  const cells = listCells();
  const round = Math.floor(index / cells.length);
  const cell = shuffle(cells, createRandom(`${seed} round ${round}`))[index % cells.length] as Cell;
  const random = createRandom(`${seed} run ${index}`);
  const between = (least: number, most: number): number => least + random() * (most - least);
  const isLikely = (chance: number): boolean => random() < chance;
  const bulk = cell.leg === 'process' ? 'down' : BULK[cell.leg];
  // From 16 MiB on a dataset goes to a store in parts.
  const isLong = isLikely(cell.pattern === 'C' ? 0.5 : 0.2);
  const isFlip = cell.fault === 'flip';
  const apps: AppKind[] = ['file', 'file', 'file', 'stdout', 'curl-post', 'curl-get'];
  // What cannot verify cannot notice.
  const choices = isFlip || cell.fault.endsWith(' app') ? apps.slice(0, 4) : apps;
  const app = choices[Math.floor(random() * choices.length)] as AppKind;
  const direction = !isFlip && cell.leg !== 'link' && isLikely(0.2) ? opposite(bulk) : bulk;
  return {
    ...cell,
    index,
    sizeBytes: Math.round(isLong ? between(17e6, 20e6) : 200_000 * 80 ** random()),
    transferMs: Math.round(between(200, 2000)),
    app,
    waits: isLikely(0.7),
    nginx: chooseNginx(cell, random()),
    at: random(),
    delayMs: Math.round(between(0, 200)),
    direction: cell.leg === 'link' && isLikely(0.3) ? 'up' : direction,
    outageMs: isLikely(0.4) ? Math.round(between(300, 3000)) : 0,
    trickleMs: isLikely(0.5) ? Math.round(between(1000, 4000)) : undefined,
    awayMs: Math.round(between(0, 1500)),
  };
}

/** nginx at its defaults lets no WebSocket through. */
function chooseNginx({ link }: Cell, chance: number): Plan['nginx'] {
  if (chance < 0.12) return 'app';
  return chance < 0.4 && link === 'sse' ? 'connector' : undefined;
}

const opposite = (direction: Direction): Direction => (direction === 'up' ? 'down' : 'up');

/** One line that says what a run is. */
export function describePlan(plan: Plan): string {
  const { index, pattern, link, leg, fault, sizeBytes, app, nginx, at, outageMs } = plan;
  const where =
    leg === 'process' ? fault : `${fault} on ${leg} ${plan.direction}${outageMs > 0 ? ` for ${outageMs} ms` : ''}`;
  const size = `${(sizeBytes / 1e6).toFixed(1)} MB`;
  return `#${index} ${pattern} over ${link}, ${where} at ${Math.round(at * 100)} % of ${size}, ${app}${nginx ? `, nginx before the ${nginx === 'app' ? 'app' : 'connector'}` : ''}`;
}

/** Numbers from 0 up to 1 that only depend on the text (a hash of it, then mulberry32). */
function createRandom(text: string): () => number {
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(text)) state = Math.imul(state ^ byte, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const mixed = items.map((item) => ({ item, key: random() }));
  return mixed.toSorted((a, b) => a.key - b.key).map(({ item }) => item);
}
