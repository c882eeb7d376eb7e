/**
 * Writes docs/api.md: what the library exports, as its declarations have it, with the types that those refer to. A change
 * that breaks programs shows there, for whoever reviews it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const API_FILE = join(ROOT, 'docs/api.md');
const TYPES = join(ROOT, 'dist/types');
const ENTRIES = { '@relay-data/relay': 'index.d.ts', '@relay-data/relay/files': 'files.d.ts' };

/** A module of declarations, as tsc writes them. */
interface Module {
  /** Statements by the names that they declare. */
  readonly declared: ReadonlyMap<string, string>;
  /** Where a name that is imported or passed on comes from, and how it is called there. */
  readonly foreign: ReadonlyMap<string, { readonly path: string; readonly name: string }>;
  readonly exported: readonly string[];
}

const modules = new Map<string, Module>();

function readModule(path: string): Module {
  const known = modules.get(path);
  if (known !== undefined) return known;
  const text = readFileSync(path, 'utf8').replace(/\/\*\*?[^]*?\*\//g, '');
  const declared = new Map<string, string>();
  const foreign = new Map<string, { path: string; name: string }>();
  const exported: string[] = [];
  // A statement begins at the margin; what belongs to it is indented, but for its last brace.
  for (const [statement] of text.matchAll(/^[a-z][^]*?(?=^[a-z]|(?![^]))/gm)) {
    const [, list, from] = /^(?:import|export)(?: type)? \{([^}]*)\} from '(\.[^']+)'/.exec(statement) ?? [];
    if (list !== undefined && from !== undefined) {
      const target = resolve(dirname(path), from.replace(/\.(?:d\.)?[jt]s$/, '.d.ts'));
      for (const part of list.split(',')) {
        const [name = '', as = name] = part
          .trim()
          .replace(/^type /, '')
          .split(' as ');
        if (name === '') continue;
        foreign.set(as, { path: target, name });
        if (statement.startsWith('export')) exported.push(as);
      }
      continue;
    }
    const [, name] =
      /^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|const|function) (\w+)/.exec(statement) ?? [];
    if (name !== undefined) declared.set(name, statement.trim().replace(/\n\s*\n/g, '\n'));
  }
  const made = { declared, foreign, exported };
  modules.set(path, made);
  return made;
}

/** Adds a name and all that its declaration refers to. */
function collect(path: string, name: string, found: Map<string, string>): void {
  if (!existsSync(path)) return;
  const { declared, foreign } = readModule(path);
  const elsewhere = foreign.get(name);
  if (elsewhere !== undefined) return collect(elsewhere.path, elsewhere.name, found);
  const statement = declared.get(name);
  const key = `${name} ${path}`;
  if (statement === undefined || found.has(key)) return;
  found.set(key, statement);
  for (const [word] of statement.matchAll(/\b[A-Za-z]\w*/g)) {
    if (word !== name && (declared.has(word) || foreign.has(word))) collect(path, word, found);
  }
}

const block = (text: string): string => `\`\`\`ts\n${text}\n\`\`\`\n`;

/** The document, from the declarations that the last build made. */
export function describeLibrary(): string {
  const told = new Set<string>();
  const sections = Object.entries(ENTRIES).map(([entry, file]) => {
    const path = join(TYPES, file);
    const found = new Map<string, string>();
    const { exported } = readModule(path);
    for (const name of exported) collect(path, name, found);
    const isExported = (key: string): boolean => exported.includes(key.split(' ')[0] as string);
    const order = [...found].filter(([key]) => !told.has(key)).toSorted(([one], [other]) => (one < other ? -1 : 1));
    for (const [key] of order) told.add(key);
    const code = (wanted: boolean): string =>
      order
        .filter(([key]) => isExported(key) === wanted)
        .map(([, statement]) => statement)
        .join('\n\n');
    const others = code(false);
    return `## \`${entry}\`\n\n${block(code(true))}${others === '' ? '' : `\nWhat these refer to:\n\n${block(others)}`}`;
  });
  return `# The signatures of the library\n\nGenerated from the declarations by \`npm run api\`; a test compares. [library.md](library.md) tells how to use them.\n\n${sections.join('\n')}`;
}

if (import.meta.main) writeFileSync(API_FILE, describeLibrary());
