import type { Measurement, Pattern } from './measure.ts';

const WIDTHS = [18, 20, 20, 20];

const line = (cells: readonly string[]): string =>
  cells
    .map((cell, column) => cell.padEnd(WIDTHS[column] ?? 0))
    .join('  ')
    .trimEnd();

/** The comparison of the three patterns, with what was measured of them. */
export function formatTable(
  figures: Readonly<Record<Pattern, Measurement>>,
  isRight: (figure: Measurement) => boolean,
): string {
  const { A, B, C } = figures;
  const row = (name: string, show: (figure: Measurement) => string): string => line([name, show(A), show(B), show(C)]);
  return [
    line(['', 'A buffering', 'B streaming', 'C offloading']),
    line(['', '-----------', '-----------', '------------']),
    line(['app command', 'request-sync', 'request-stream', 'request-offload']),
    row('first byte', ({ firstByteMs }) => `${firstByteMs.toFixed(0)} ms`),
    row('rate', ({ rate }) => `${(rate / 1e6).toFixed(0)} MB/s`),
    row('router memory', ({ memoryBytes }) =>
      memoryBytes === undefined ? 'not measured' : `+ ${(memoryBytes / 2 ** 20).toFixed(0)} MiB`,
    ),
    row('SHA-256', (figure) => (isRight(figure) ? 'verified' : 'WRONG')),
    line(['good for', 'small files', 'medium files', 'large files']),
  ].join('\n');
}
