import { createHash } from 'node:crypto';
import type { ListEntry } from './patterns/listing.ts';

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; color: light-dark(#1d2126, #dfe3e8); background: light-dark(#fff, #15181c); }
h1 { margin: 0 0 1rem; font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; white-space: pre-wrap; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid light-dark(#e1e5ea, #2c3138); vertical-align: top; }
th:first-child, td:first-child { overflow-wrap: anywhere; white-space: pre-wrap; }
th:nth-child(2), td:nth-child(2) { width: 10rem; text-align: right; }
th:nth-child(3), td:nth-child(3) { width: 11rem; padding-right: 0; text-align: right; }
a { color: light-dark(#0b57a4, #82b7f5); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
p { color: light-dark(#59626d, #98a2ad); }
@media (max-width: 40rem) { th:nth-child(3), td:nth-child(3) { display: none; } th:nth-child(2), td:nth-child(2) { width: 7.5rem; } }
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** Headers of a page: it runs nothing, loads nothing, and is shown in nobody's frame. */
export const PAGE_HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
  Vary: 'Accept',
  'X-Accel-Buffering': 'no',
} as const;

/** The beginning of a page, up to its first line. @param directory with its slash; empty for the uppermost. */
export function renderHead(connector: string, directory: string): string {
  const heading = `${escapeHtml(connector)}${directory === '' ? '' : ` / <bdi>${escapeHtml(directory)}</bdi>`}`;
  const title = escapeHtml(directory === '' ? `Datasets of ${connector}` : `${directory} of ${connector}`);
  const parent = directory === '' ? '' : renderRow('<a href="../">../</a>', '', '');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${heading}</h1>
<table>
<thead>
<tr><th scope="col">Name</th><th scope="col">Size in bytes</th><th scope="col">Changed (UTC)</th></tr>
</thead>
<tbody>
${parent}`;
}

/** The lines of a page. What they link to is relative to the directory. */
export function renderEntries(entries: readonly ListEntry[]): string {
  return entries.map(renderEntry).join('');
}

/** The end of a page, which says that it is the end. */
export function renderFoot({ datasets, directories }: { datasets: number; directories: number }): string {
  const counts = [
    `${datasets} ${datasets === 1 ? 'dataset' : 'datasets'}`,
    ...(directories === 0 ? [] : [`${directories} ${directories === 1 ? 'folder' : 'folders'}`]),
  ];
  return `</tbody>\n</table>\n<p>${counts.join(' and ')}</p>\n</body>\n</html>\n`;
}

function renderEntry({ key, dataset }: ListEntry): string {
  const part = key.slice(key.lastIndexOf('/', key.length - 2) + 1);
  if (dataset === undefined) {
    const name = part.slice(0, -1);
    return renderRow(`<a href="${encodeURIComponent(name)}/"><bdi>${escapeHtml(name)}</bdi>/</a>`, '', '');
  }
  const { size, mtime } = dataset;
  const link = `<a href="${encodeURIComponent(part)}" download><bdi>${escapeHtml(part)}</bdi></a>`;
  const time = mtime === undefined ? '' : new Date(mtime).toISOString().slice(0, 19).replace('T', ' ');
  return renderRow(link, String(size).replaceAll(/\B(?=(?:\d{3})+$)/g, ','), time);
}

const renderRow = (...cells: string[]): string => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>\n`;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as a page shows it; what nobody could see in it, a line break or an escape, as a sign that something is there. */
const escapeHtml = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, '\ufffd').replaceAll(/[&<>"']/g, (character) => ENTITIES[character] as string);
