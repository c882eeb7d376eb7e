import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine } from './machine.ts';
import { median } from './measure.ts';
import type { Line } from './scenario.ts';

/** What a line came to, from the medians of its figures. */
interface Result {
  readonly relay: number | undefined;
  readonly rival: number | undefined;
  /** relay ÷ rival. */
  readonly ratio: number | undefined;
  /** Undefined where it was not measured. */
  readonly isMet: boolean | undefined;
}

/** All that one run of the benchmark gave. */
export interface Report {
  readonly date: string;
  readonly machine: Machine;
  readonly runs: number;
  readonly isQuick: boolean;
  readonly lines: readonly (Line & { readonly scenario: string })[];
  /** Scenarios that ended with an error. */
  readonly failures: Readonly<Record<string, string>>;
}

const HEAD = ['line', 'target', 'relay', 'rival', 'ratio', 'met'];

/** Compares a line with its target. */
function judge({ relay, rival, target }: Pick<Line, 'relay' | 'rival' | 'target'>): Result {
  const own = relay.length === 0 ? undefined : median(relay);
  const other = rival === undefined || rival.figures.length === 0 ? undefined : median(rival.figures);
  const ratio = own === undefined || other === undefined ? undefined : own / other;
  const judged = target?.of === 'ratio' ? ratio : own;
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = target ?? {};
  return {
    relay: own,
    rival: other,
    ratio,
    isMet: target === undefined || judged === undefined ? undefined : judged >= atLeast && judged <= atMost,
  };
}

/** The table of some lines, as it is printed. */
export function formatTable(lines: readonly Line[]): string {
  const rows = [HEAD, ...lines.map(formatRow)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function formatRow(line: Line): string[] {
  const { relay, rival, ratio, isMet } = judge(line);
  return [
    line.name,
    formatTarget(line),
    relay === undefined ? `not measured: ${line.missing ?? 'no figures'}` : `${formatNumber(relay)} ${line.unit}`,
    formatRival(line, rival),
    ratio === undefined ? '' : formatNumber(ratio),
    isMet === undefined ? '' : isMet ? 'yes' : 'no',
  ];
}

function formatTarget({ target, unit }: Line): string {
  if (target === undefined) return '';
  const suffix = target.of === 'ratio' ? ' ×' : ` ${unit}`;
  const atLeast = target.atLeast === undefined ? [] : [`≥ ${formatNumber(target.atLeast)}${suffix}`];
  const atMost = target.atMost === undefined ? [] : [`≤ ${formatNumber(target.atMost)}${suffix}`];
  return [...atLeast, ...atMost].join(', ');
}

function formatRival({ rival, unit }: Line, figure: number | undefined): string {
  if (rival === undefined) return '';
  if (figure === undefined) return `${rival.name}: ${rival.missing ?? 'not measured'}`;
  return `${rival.name} ${formatNumber(figure)} ${unit}`;
}

/** Three digits that count, and whole numbers beyond. */
const formatNumber = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));

/** What the figures were taken on, in a line. */
export const formatMachine = ({ cpu, cores, memoryGib, kernel, node, commit, load }: Machine): string =>
  `${cpu}, ${cores} cores, ${memoryGib} GiB, ${kernel}, Node ${node}, commit ${commit}, load ${load.toFixed(2)}`;

/** Writes a report as JSON into a directory, with the medians beside every figure. @returns the path of the file. */
export async function writeReport(directory: string, report: Report): Promise<string> {
  await mkdir(directory, { recursive: true });
  const file = join(directory, `${report.date.replaceAll(':', '-')}.json`);
  const lines = report.lines.map((line) => ({ ...line, medians: judge(line) }));
  await writeFile(file, `${JSON.stringify({ ...report, lines }, null, 2)}\n`);
  return file;
}
