import { readFile } from 'node:fs/promises';

/** A block of commands in a document, or of what else is run. */
interface DocCommands {
  /** What the comment above it calls it; undefined without one. */
  readonly name: string | undefined;
  /** False where the comment says that no test runs it. */
  readonly isRun: boolean;
  readonly script: string;
}

/** Every block of shell commands, Python, JavaScript and nginx's of a document, in order. `<!-- test: NAME -->` above one gives it its name. */
export async function readDocCommands(path: string): Promise<DocCommands[]> {
  const blocks = (await readFile(path, 'utf8')).matchAll(
    /(?:<!-- (test|not run by a test): ([^>]*?) -->\n)?```(?:sh|python|js|nginx)\n([^]*?)```/g,
  );
  return [...blocks].map(([, kind, name, script = '']) => ({ name, isRun: kind === 'test', script }));
}

/** The commands that a document gives under a name, with what stands for something else replaced: each must be there. */
export async function readDocScript(
  path: string,
  name: string,
  replacements: Readonly<Record<string, string>> = {},
): Promise<string> {
  let script = (await readDocCommands(path)).find((each) => each.isRun && each.name === name)?.script;
  if (script === undefined) throw new Error(`${path} has no commands called ${name}`);
  for (const [from, to] of Object.entries(replacements)) {
    if (!script.includes(from)) throw new Error(`the commands ${name} do not have ${from}`);
    script = script.replaceAll(from, to);
  }
  return script;
}
