/**
 * Makes the checkout ready to run: packages as in package-lock.json, and dist/ as in src/. Says and does nothing when all
 * is in place. Needs only Node.js 20 and npm; several at once wait for one another.
 *
 *   node scripts/setup.mjs               install, then build, each where needed
 *   node scripts/setup.mjs --build-only  build where needed
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const path = (...parts) => join(ROOT, ...parts);

const INSTALL_STAMP = path('node_modules/.relay-setup');
const BUILD_STAMP = path('dist/.build-stamp');
const NODE = path(process.platform === 'win32' ? 'node_modules/node/bin/node.exe' : 'node_modules/node/bin/node');

class SetupError extends Error {}

// ---- What is in place

function isInstalled() {
  const lock = hashFiles(['package-lock.json']);
  if (!existsSync(NODE)) return false;
  if (read(INSTALL_STAMP) === lock) return true;
  // Installed by hand: npm's own record tells whether it was from the same lock.
  if (!matchesLock()) return false;
  writeFileSync(INSTALL_STAMP, lock);
  return true;
}

function matchesLock() {
  const wanted = readPackages('package-lock.json');
  const found = readPackages('node_modules/.package-lock.json');
  if (!wanted || !found) return false;
  const isSame = ([place, entry]) =>
    place === '' || (found[place] ? found[place].version === entry.version : entry.optional === true);
  return Object.entries(wanted).every(isSame) && Object.keys(found).every((place) => wanted[place] !== undefined);
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(path(file), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function isBuilt() {
  const built = ['cli', 'index', 'files'].every((name) => existsSync(path(`dist/${name}.js`)));
  return built && read(BUILD_STAMP) === hashSources();
}

function hashSources() {
  const sources = readdirSync(path('src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(ROOT.length + 1));
  const configs = readdirSync(ROOT).filter((name) =>
    /^(?:tsup\.config\.ts|tsconfig.*\.json|package\.json)$/.test(name),
  );
  return hashFiles([...sources, ...configs].toSorted((a, b) => (a < b ? -1 : 1)));
}

function hashFiles(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = readFileSync(path(file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

// ---- What brings it into place

async function install() {
  say('installing packages (npm ci), about a minute');
  rmSync(INSTALL_STAMP, { force: true });
  await npm('ci', '--no-audit', '--no-fund', '--loglevel=error');
  if (!existsSync(NODE)) {
    throw new SetupError(
      [
        'npm installed the packages, but not the Node.js that this project runs on: the install script of the package "node" did not run.',
        'Where scripts are turned off (`npm config get ignore-scripts` says true), let this one run:',
        '  npm rebuild node --ignore-scripts=false',
        'Where npm blocks it, the field "allowScripts" of package.json must name "node" (npm help install-scripts).',
      ].join('\n'),
    );
  }
  writeFileSync(INSTALL_STAMP, hashFiles(['package-lock.json']));
}

async function build() {
  say('building (npm run build)');
  // Taken before, so that a file that is saved meanwhile makes the build old.
  const hash = hashSources();
  await npm('run', '--silent', 'build');
  writeFileSync(BUILD_STAMP, hash);
}

/** The children that must not outlive this process. */
const running = new Set();

/** Runs npm; what it prints is shown only when it fails. */
function npm(...args) {
  return new Promise((done, fail) => {
    const child = spawn('npm', args, {
      cwd: ROOT,
      env: environmentForNpm(),
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32',
    });
    running.add(child);
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (printed += text));
    child.once('error', (error) => fail(new SetupError(`cannot run npm: ${error.message}`)));
    child.once('close', (code, signal) => {
      running.delete(child);
      if (code === 0) done();
      else fail(new SetupError(`${printed}npm ${args.join(' ')} failed (${signal ?? `exit ${code}`})`));
    });
  });
}

/** npm must not run on the Node.js in node_modules, which npm ci takes away. */
function environmentForNpm() {
  const env = { ...process.env };
  const name = Object.keys(env).find((each) => each.toUpperCase() === 'PATH') ?? 'PATH';
  const own = path('node_modules');
  env[name] = (env[name] ?? '')
    .split(delimiter)
    .filter((directory) => !resolve(directory).startsWith(own))
    .join(delimiter);
  // The outer npm's settings of this one run, such as --silent, are not meant for the inner one.
  for (const each of ['npm_config_loglevel', 'npm_config_prefix', 'npm_node_execpath', 'npm_execpath', 'NODE'])
    delete env[each];
  return env;
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

// ---- One at a time

const LOCK = path('.relay/setup.lock');
const BEAT_MS = 2000;
/** A lock that was not touched for this long belongs to nobody any more. */
const STALE_MS = 30_000;

function onSignal(signal) {
  for (const child of running) child.kill(signal);
  releaseLock();
  process.exit(130);
}

async function withLock(work) {
  await takeLock();
  const beat = setInterval(() => touch(LOCK), BEAT_MS);
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    await work();
  } finally {
    clearInterval(beat);
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    releaseLock();
  }
}

function releaseLock() {
  rmSync(LOCK, { force: true });
}

async function takeLock() {
  mkdirSync(dirname(LOCK), { recursive: true });
  let told = false;
  while (!create(LOCK)) {
    if (isStale()) breakLock();
    else {
      if (!told) say(`waiting for another setup (process ${read(LOCK)?.split(' ')[0] || '?'})`);
      told = true;
      await delay(200);
    }
  }
}

function create(file) {
  try {
    const handle = openSync(file, 'wx');
    writeFileSync(handle, `${process.pid} ${hostname()}\n`);
    closeSync(handle);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function isStale() {
  const ageMs = ageOf(LOCK);
  if (ageMs === undefined) return false;
  if (ageMs > STALE_MS) return true;
  const [pid, host] = (read(LOCK) ?? '').trim().split(' ');
  return host === hostname() && !isAlive(Number(pid));
}

/** Takes a stale lock away. Only one may at a time, or the second would take away the lock of the first. */
function breakLock() {
  const permit = `${LOCK}.break`;
  if (!create(permit)) {
    if ((ageOf(permit) ?? 0) > STALE_MS) rmSync(permit, { force: true });
    return;
  }
  try {
    if (isStale()) rmSync(LOCK, { force: true });
  } finally {
    rmSync(permit, { force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function ageOf(file) {
  try {
    return Date.now() - statSync(file).mtimeMs;
  } catch {
    return undefined;
  }
}

function touch(file) {
  try {
    utimesSync(file, new Date(), new Date());
  } catch {
    // Somebody took it away; nothing here depends on it any more.
  }
}

// ---- The whole

async function main() {
  const installs = !process.argv.includes('--build-only');
  if ((!installs || isInstalled()) && isBuilt()) return;
  await withLock(async () => {
    // Looked at again: another setup may have done it while this one waited.
    if (installs && !isInstalled()) await install();
    if (!isBuilt()) await build();
  });
}

main().catch((error) => {
  process.stderr.write(`setup: ${error instanceof SetupError ? error.message : error.stack}\n`);
  process.exitCode = 1;
});
