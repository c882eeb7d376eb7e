import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { DatasetName } from '../../../src/protocol/dataset-name.ts';
import { PAGE_HEADERS, renderEntries, renderFoot, renderHead } from '../../../src/router/listing-page.ts';

const dataset = (name: string, size = 1, mtime?: string) => ({
  key: name,
  dataset: { name: name as DatasetName, size, ...(mtime !== undefined && { mtime }) },
});

const HOSTILE = [
  'a b.csv',
  '"onclick=alert(1)',
  "'quoted'",
  '<script>alert(1)',
  'a?b=c',
  'a#b',
  '100%.csv',
  '%2e%2e',
  '..secret',
  '...',
  ':80',
  'javascript:alert(1)',
  'http:evil',
  '\\\\host',
  'caf\u00e9 😀',
  'a&amp;b',
  'line\nbreak',
  '\u202egnp.exe',
];

describe('a page of a directory', () => {
  test.each(HOSTILE)('links to %j, and to nothing else', (name) => {
    const base = 'http://router/connectors/m/datasets/dir/';
    for (const [entry, end] of [
      [dataset(`dir/${name}`), ''],
      [{ key: `dir/${name}/` }, '/'],
    ] as const) {
      const html = renderEntries([entry]);
      const [, href = ''] = /href="([^"]*)"/.exec(html) ?? [];
      const url = new URL(href, base);
      expect(url.href.startsWith(base)).toBe(true);
      expect([url.search, url.hash]).toEqual(['', '']);
      expect(decodeURIComponent(url.pathname.slice(new URL(base).pathname.length))).toBe(`${name}${end}`);
      // No other tag, no other attribute, and no raw character of markup.
      expect(html.replace(/<bdi>.*?<\/bdi>/s, '')).toMatch(
        /^<tr><td><a href="[\w%.~!'()*-]+\/?"( download)?>\/?<\/a><\/td><td>1?<\/td><td><\/td><\/tr>\n$/,
      );
      expect(/<bdi>(.*?)<\/bdi>/s.exec(html)?.[1]).not.toMatch(/[<>"'\p{Cc}]/u);
    }
  });

  test('shows sizes and times', () => {
    const html = renderEntries([dataset('a', 1_234_567, '2026-01-31T12:00:00.565+01:00'), dataset('b', 999)]);
    expect(html).toContain('<td>1,234,567</td><td>2026-01-31 11:00:00</td>');
    expect(html).toContain('<td>999</td><td></td>');
  });

  test('names connector and directory, and links to the parent where there is one', () => {
    expect(renderHead('Press <3>', '')).toContain('<h1>Press &lt;3&gt;</h1>');
    expect(renderHead('m', '')).not.toContain('href');
    expect(renderHead('m', 'a/<b>/')).toContain('<title>a/&lt;b&gt;/ of m</title>');
    expect(renderHead('m', 'a/')).toContain('<a href="../">../</a>');
  });

  test('ends with how many there are', () => {
    expect(renderFoot({ datasets: 1, directories: 0 })).toContain('<p>1 dataset</p>');
    expect(renderFoot({ datasets: 0, directories: 2 })).toContain('<p>0 datasets and 2 folders</p>');
  });

  test('allows its own style and nothing else', () => {
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(renderHead('m', '')) ?? [];
    const hash = createHash('sha256').update(style).digest('base64');
    expect(PAGE_HEADERS['Content-Security-Policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
  });
});
