import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { basename, delimiter, dirname, join } from 'node:path';

/** What a Dockerfile makes, as far as it can be made without Docker: a directory in place of the image's root. */
export interface Image {
  /** Holds only what the Dockerfile put there, not what it is made from. */
  readonly root: string;
  readonly from: string;
  readonly env: Record<string, string>;
  readonly labels: Record<string, string>;
  user: string;
  workdir: string;
  volume: string;
  stopSignal: string;
  entrypoint: string[];
  command: string[];
  healthcheck: string[];
}

/**
 * Goes through a Dockerfile step by step: a directory stands for each stage, COPY copies, and RUN runs in the working
 * directory, so that its paths have to be relative. The Node.js of the tests stands for that of the image.
 * @param context the build context, out of which only what .dockerignore lets through is copied
 * @param directory where the stages are made
 * @returns the last stage
 */
export async function replayDockerfile(context: string, directory: string): Promise<Image> {
  const allowed = (await readLines(join(context, '.dockerignore'))).flatMap((line) =>
    line.startsWith('!') ? [line.slice(1)] : [],
  );
  const stages = new Map<string, Image>();
  let image: Image | undefined;
  for (const instruction of await readInstructions(join(context, 'Dockerfile'))) {
    const [, name = '', rest = ''] = /^(\w+)\s+([^]*)$/.exec(instruction) ?? [];
    if (name === 'FROM') {
      const [, from = '', alias = `stage-${stages.size}`] = /^(?:--\S+ )?(\S+)(?: AS (\S+))?$/.exec(rest) ?? [];
      image = startStage(from, join(directory, alias));
      await mkdir(image.root, { recursive: true });
      stages.set(alias, image);
    } else if (image === undefined) {
      throw new Error(`nothing is to come before FROM: ${instruction}`);
    } else if (name === 'COPY') {
      await copy(rest, image, (stage) => stages.get(stage)?.root, { context, allowed });
    } else {
      await apply(name, rest, image);
    }
  }
  if (image === undefined) throw new Error('the Dockerfile makes nothing');
  return image;
}

function startStage(from: string, root: string): Image {
  const nothing = { user: '', workdir: '/', volume: '', stopSignal: '', entrypoint: [], command: [], healthcheck: [] };
  return { root, from, env: {}, labels: {}, ...nothing };
}

async function apply(name: string, rest: string, image: Image): Promise<void> {
  if (name === 'RUN') await runStep(rest, image);
  else if (name === 'WORKDIR') await mkdir(join(image.root, (image.workdir = rest)), { recursive: true });
  else if (name === 'ENV') Object.assign(image.env, readPairs(rest));
  else if (name === 'LABEL') Object.assign(image.labels, readPairs(rest));
  else if (name === 'USER') image.user = rest;
  else if (name === 'VOLUME') image.volume = rest;
  else if (name === 'STOPSIGNAL') image.stopSignal = rest;
  // Both in the form that starts no shell, which would keep signals to itself.
  else if (name === 'ENTRYPOINT') image.entrypoint = JSON.parse(rest) as string[];
  else if (name === 'CMD') image.command = JSON.parse(rest) as string[];
  else if (name === 'HEALTHCHECK') image.healthcheck = JSON.parse(rest.replace(/^[^]*?CMD /, '')) as string[];
  else if (name !== 'EXPOSE') throw new Error(`nobody here knows ${name}`);
}

async function copy(
  rest: string,
  image: Image,
  findStage: (name: string) => string | undefined,
  { context, allowed }: { readonly context: string; readonly allowed: readonly string[] },
): Promise<void> {
  const words = rest.split(/\s+/);
  const flag = (name: string): string | undefined =>
    words.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
  const paths = words.filter((word) => !word.startsWith('--'));
  const target = paths.pop() ?? '';
  const from = flag('from');
  const source = from === undefined ? context : findStage(from);
  if (source === undefined) throw new Error(`there is no stage ${from}`);
  for (const path of paths) {
    if (from === undefined && !allowed.includes(path)) throw new Error(`.dockerignore keeps ${path} back`);
    const place = join(image.root, target.startsWith('/') ? '' : image.workdir, target);
    const to = target.endsWith('/') ? join(place, basename(path)) : place;
    await mkdir(dirname(to), { recursive: true });
    await cp(join(source, path), to, { recursive: true });
    const [uid, gid] = (flag('chown') ?? '').split(':').map(Number);
    if (uid !== undefined && gid !== undefined && process.getuid?.() === 0) {
      for (const entry of ['', ...(await readdir(to, { recursive: true }))]) await chown(join(to, entry), uid, gid);
    }
  }
}

async function runStep(command: string, image: Image): Promise<void> {
  const child = spawn('sh', ['-ec', command], {
    cwd: join(image.root, image.workdir),
    env: { ...process.env, ...image.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (said += text.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`RUN ${command} ended with ${code}:\n${said}`);
}

async function readInstructions(file: string): Promise<string[]> {
  const lines = (await readLines(file)).join('\n');
  return lines.replace(/\s*\\\n\s*/g, ' ').split('\n');
}

/** The lines that say something. */
async function readLines(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

function readPairs(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\S+?)=(?:"([^"]*)"|(\S+))/g)].map(([, name, a, b]) => [name, a ?? b]));
}
