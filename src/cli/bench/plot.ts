import { formatBytes } from '../app/format.ts';
import { formatRate, PATTERN_NAMES, PATTERNS, type Report, type Result } from './report.ts';

/** Measures of the drawing, in pixels: a panel for rate and one for memory, one below the other. */
const WIDTH = 760;
const PANEL = { left: 90, right: 150, top: 60, height: 250, gap: 80 };

const COLOURS = { A: '#d1495b', B: '#00798c', C: '#edae49' } as const;

interface Panel {
  readonly title: string;
  readonly valueOf: (result: Result) => number | null;
  readonly format: (value: number) => string;
}

const PANELS: readonly Panel[] = [
  { title: 'rate', valueOf: ({ bytes_per_second: rate }) => rate, format: formatRate },
  {
    title: 'what the router’s memory rose by',
    valueOf: ({ memory_bytes: bytes }) => bytes,
    format: (bytes) => formatBytes(Math.round(bytes)),
  },
];

/** Rate and memory over the size of the dataset, a line for each pattern, as SVG. */
export function plot({ results, machine, date, version, router }: Report): string {
  const place = router ?? `${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node.js ${machine.node}`;
  const height = PANEL.top + PANELS.length * (PANEL.height + PANEL.gap);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>relay ${escape(version)}: patterns A, B and C by size</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(PANEL.left, 20, `relay ${version}, ${date.slice(0, 10)}: ${place}`),
    ...PANELS.map((panel, index) => drawPanel(panel, results, PANEL.top + index * (PANEL.height + PANEL.gap))),
    '</svg>\n',
  ].join('\n');
}

function drawPanel({ title, valueOf, format }: Panel, results: readonly Result[], top: number): string {
  const sizes = [...new Set(results.map(({ size }) => size))].toSorted((one, other) => one - other);
  const known = results.filter((result) => valueOf(result) !== null);
  const most = Math.max(1, ...known.map((result) => valueOf(result) as number));
  const logs = sizes.map((size) => Math.log2(Math.max(1, size)));
  const [first = 0, last = first] = [logs[0], logs.at(-1)];
  const right = WIDTH - PANEL.right;
  const bottom = top + PANEL.height;
  const x = (size: number): number =>
    last === first
      ? (PANEL.left + right) / 2
      : PANEL.left + ((Math.log2(Math.max(1, size)) - first) / (last - first)) * (right - PANEL.left);
  const y = (value: number): number => bottom - (value / most) * PANEL.height;
  const grid = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = y(part * most);
    const label = text(PANEL.left - 8, at + 4, format(part * most), 'end');
    return `<path d="M${PANEL.left} ${at}H${right}" stroke="#ddd"/>${label}`;
  });
  const ticks = sizes.map((size) => text(x(size), bottom + 18, formatBytes(size), 'middle'));
  const lines = PATTERNS.map((pattern, index) => {
    const points = known
      .filter((result) => result.pattern === pattern)
      .map((result) => `${x(result.size).toFixed(1)},${y(valueOf(result) as number).toFixed(1)}`);
    const dots = points.map(
      (point) => `<circle cx="${point.replace(',', '" cy="')}" r="3" fill="${COLOURS[pattern]}"/>`,
    );
    const legend = text(right + 30, top + 20 + index * 20, PATTERN_NAMES[pattern]);
    return [
      `<polyline points="${points.join(' ')}" fill="none" stroke="${COLOURS[pattern]}" stroke-width="2"/>`,
      ...dots,
      `<path d="M${right + 8} ${top + 16 + index * 20}h16" stroke="${COLOURS[pattern]}" stroke-width="2"/>${legend}`,
    ].join('');
  });
  return [text(PANEL.left, top - 10, title), ...grid, ...ticks, ...lines].join('\n');
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end' = 'start'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escape(content)}</text>`;
}

const escape = (content: string): string =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
