import { FAULTS, listCells } from './plan.ts';
import type { RunReport, Verdict } from './run.ts';

const GOOD: readonly Verdict[] = ['spared', 'unharmed', 'resumed', 'repeated', 'failed'];

/** The matrix: a row for each pattern, link and leg, a column for each fault, and the totals below. */
export function formatSummary(reports: readonly RunReport[]): string {
  const rowOf = ({ pattern, link, leg }: RunReport['plan']): string => `${pattern} ${link} ${leg}`;
  const cells = new Map<string, RunReport[]>();
  for (const report of reports) {
    const key = `${rowOf(report.plan)}|${report.plan.fault}`;
    cells.set(key, [...(cells.get(key) ?? []), report]);
  }
  const rows = Array.from(new Set(listCells().map((cell) => rowOf(cell as RunReport['plan']))));
  const isOfProcess = (row: string): boolean => row.endsWith(' process');
  const table = (wanted: readonly string[], faults: readonly string[]): string =>
    align([
      ['', ...faults],
      ...wanted.map((row) => [row, ...faults.map((fault) => formatCell(cells.get(`${row}|${fault}`)))]),
    ]);
  const count = (verdict: Verdict): number => reports.filter((report) => report.verdict === verdict).length;
  return [
    'Each cell: over before the fault / unharmed / resumed / asked for again / clear error',
    '',
    table(
      rows.filter((row) => !isOfProcess(row)),
      FAULTS.filter((fault) => !fault.includes(' ')),
    ),
    '',
    table(
      rows.filter(isOfProcess),
      FAULTS.filter((fault) => fault.includes(' ')),
    ),
    '',
    `${reports.length} runs: ${count('spared')} over before the fault, ${count('unharmed')} unharmed, ${count('resumed')} saved by resumption, ${count('repeated')} asked for again, ` +
      `${count('failed')} clear errors, ${count('wrong')} WRONG, ${count('hung')} HANG`,
    `clear errors by exit code: ${countCodes(reports) || 'none'}`,
  ].join('\n');
}

function formatCell(reports: readonly RunReport[] = []): string {
  if (reports.length === 0) return '';
  const count = (verdict: Verdict): number => reports.filter((report) => report.verdict === verdict).length;
  const bad = [count('wrong') && ` ${count('wrong')} WRONG`, count('hung') && ` ${count('hung')} HANG`];
  return `${GOOD.map(count).join('/')}${bad.filter(Boolean).join('')}`;
}

function countCodes(reports: readonly RunReport[]): string {
  const counts = new Map<string, number>();
  for (const { verdict, plan, exitCode } of reports) {
    if (verdict !== 'failed') continue;
    const name = `${plan.app.startsWith('curl') ? 'curl ' : ''}${exitCode}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return Array.from(counts, ([name, count]) => `${name}: ${count}`)
    .toSorted()
    .join(', ');
}

function align(rows: readonly string[][]): string {
  const widths = (rows[0] as string[]).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] as string).length)),
  );
  return rows
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
