import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { ensurePython } from '../../scripts/python.mjs';
import { readDocScript } from './doc-commands.ts';
import { FaultyLine } from './faulty-line.ts';
import { type RoleProcess, run, runRelay, startConnectorProcess, startRouterProcess } from './processes.ts';
import { makeTempDir } from './router.ts';
import { SlowLine } from './slow-line.ts';

const ROOT = join(import.meta.dirname, '../..');
const CLIENTS = join(ROOT, 'docs/clients.md');
/** What the document calls router and node. */
const HOST = 'https://relay.example.com';
const MAC = 'cc-28-aa-01-02-03';
const DATASETS = `/connectors/${MAC}/datasets`;

/** What a program that ended well wrote to its standard output. */
type Said = string;

/** A router with a node, and a reader's desk with nothing on it but what the document tells it to put there. */
export interface ClientSite extends AsyncDisposable {
  /** Where datasets are, on a line that breaks when it is told to. */
  readonly datasets: string;
  /** The header that reads them; none where the router asks for no token. */
  readonly auth: Readonly<Record<string, string>>;
  readonly router: RoleProcess & { url: string };
  /** Between readers and router. */
  readonly line: FaultyLine;
  /** The directory that readers work in. */
  readonly desk: string;
  /** All bytes that the node has sent to the router. */
  readonly sentByNode: number;
  /**
   * Runs what the document has under a name, in the shell, with the router's address, and the token where one is needed.
   *
   * @throws {Error} where it fails.
   */
  sh(name: string, changes?: Changes): Promise<Said>;
  /** The same with Python, as one program of several blocks, after what all begin with. Changes are to the last block. */
  python(names: readonly string[], changes?: Changes): Promise<Said>;
  /** The same with Node.js. */
  node(name: string, changes?: Changes): Promise<Said>;
}

/** What a script has, and what stands there in its place. */
export type Changes = Readonly<Record<string, string>>;

export interface ClientSiteOptions {
  readonly dataDir: string;
  /** Whether the router asks for tokens. */
  readonly hasToken: boolean;
  /** Of the router. */
  readonly args?: readonly string[];
}

/** Starts router and node. They end with the scope. */
export async function startClientSite({ dataDir, hasToken, args = [] }: ClientSiteOptions): Promise<ClientSite> {
  await using resources = new AsyncDisposableStack();
  const desk = resources.use(await makeTempDir()).path;
  const home = join(desk, 'home');
  await mkdir(home);
  // Where programs of Node.js look for packages.
  await symlink(join(ROOT, 'node_modules'), join(desk, 'node_modules'));
  const keys = resources.use(await makeTempDir()).path;
  let token = '';
  let routerArgs = args;
  let connectorArgs: string[] = [];
  if (hasToken) {
    const secret = join(keys, 'secret');
    await writeFile(secret, 'of the tests, and of 32 characters or more', { mode: 0o600 });
    const create = ['token', 'create', '--secret-file', secret, '--role'];
    const make = async (...words: readonly string[]): Promise<string> =>
      (await runRelay([...create, ...words], { cwd: keys })).stdout.toString();
    token = (await make('app', '--mac', '*', '--dataset', '**')).trim();
    const connectorToken = join(keys, 'connector.token');
    await writeFile(connectorToken, await make('connector', '--mac', MAC), { mode: 0o600 });
    await writeFile(join(desk, 'analyst.token'), `${token}\n`, { mode: 0o600 });
    routerArgs = [...args, '--secret-file', secret];
    connectorArgs = ['--token-file', connectorToken];
  }
  const router = resources.use(await startRouterProcess(routerArgs));
  const nodeLine = resources.use(await SlowLine.to(router.url));
  resources.use(await startConnectorProcess(nodeLine.url, MAC, dataDir, connectorArgs));
  const line = resources.use(await FaultyLine.to(Number(new URL(router.url).port)));
  const datasets = `${line.url}${DATASETS}`;

  const read = async (name: string, changes: Changes = {}): Promise<string> => {
    const script = await readDocScript(CLIENTS, name, changes);
    return script.replaceAll(HOST, line.url).replaceAll(new URL(HOST).hostname, '127.0.0.1');
  };
  const execute = async (program: string, words: readonly string[], path: readonly string[] = []): Promise<Said> => {
    const PATH = [...path, process.env['PATH']].join(delimiter);
    const env = { PATH, HOME: home, D: datasets, LANG: 'C.UTF-8', PYTHONDONTWRITEBYTECODE: '1' };
    const { code, signal, stdout, stderr } = await run(program, words, { cwd: desk, env });
    if (code !== 0) throw new Error(`${words.at(-1)}\nended with ${code ?? signal}:\n${stdout.toString()}\n${stderr}`);
    return stdout.toString();
  };
  const sh = async (name: string, changes?: Changes): Promise<Said> =>
    execute('sh', ['-euc', await read(name, changes)]);
  if (hasToken) await sh('netrc');
  const started = resources.move();
  return {
    datasets,
    auth: hasToken ? { authorization: `Bearer ${token}` } : {},
    router,
    line,
    desk,
    get sentByNode() {
      return nodeLine.passed;
    },
    sh,
    python: async (names, changes) => {
      const python = await ensurePython();
      const none: Changes = {
        'TOKEN = Path("analyst.token").read_text().strip()': '',
        'AUTH = {"Authorization": f"Bearer {TOKEN}"}': 'AUTH = {}',
      };
      const scripts = [await read('python', hasToken ? {} : none)];
      for (const name of names) scripts.push(await read(name, name === names.at(-1) ? changes : {}));
      return execute(python, ['-c', scripts.join('\n')], [dirname(python)]);
    },
    node: async (name, changes) => {
      const none: Changes = { "{ authorization: `Bearer ${readFileSync('analyst.token', 'utf8').trim()}` }": '{}' };
      const beginning = await read('node', hasToken ? {} : none);
      const script = `${beginning}\n${await read(name, changes)}`;
      return execute(process.execPath, ['--input-type=module', '--eval', script]);
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}
