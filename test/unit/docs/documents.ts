import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The root of the project. */
export const ROOT = join(import.meta.dirname, '../../..');

/** Every document by its path from the root. */
export function listDocuments(): string[] {
  return ['.', 'docs'].flatMap((directory) =>
    readdirSync(join(ROOT, directory))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(directory, name)),
  );
}

export const readDocument = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** The rows of every table of a document, each cell trimmed; head and rule of a table are left out. */
export function readTables(text: string): string[][][] {
  const tables: string[][][] = [];
  let current: string[][] | undefined;
  for (const line of text.split('\n')) {
    if (!line.startsWith('|')) {
      current = undefined;
      continue;
    }
    if (current === undefined) tables.push((current = []));
    // A bar inside a cell is written with a backslash.
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    current.push(cells.slice(1, -1));
  }
  return tables.map((rows) => rows.slice(2));
}

/** A document without its code, fenced or in a line. */
export const withoutCode = (text: string): string => text.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, '');

/** What stands in fenced blocks and in code spans, a line each. */
export function listCode(text: string): string[] {
  const blocks = [...text.matchAll(/^```[^\n]*\n(.*?)^```/gms)].flatMap((match) => (match[1] ?? '').split('\n'));
  const rest = text.replace(/^```.*?^```/gms, '');
  // A code span may go on in the next line.
  const spans = [...rest.matchAll(/`([^`]+)`/g)].map((match) => (match[1] ?? '').replace(/\s+/g, ' '));
  return [...blocks, ...spans].map((line) => line.trim()).filter((line) => line !== '');
}
