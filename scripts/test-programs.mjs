import { execFile } from 'node:child_process';
import { access, constants, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** The programs that the tests run relay behind or beside, or read it with, and the Debian packages that bring them. */
const PACKAGES = {
  aria2c: 'aria2',
  caddy: 'caddy',
  chromium: 'chromium',
  curl: 'curl',
  fusermount3: 'fuse3',
  haproxy: 'haproxy',
  ip: 'iproute2',
  nginx: 'nginx-light',
  openssl: 'openssl',
  python3: 'python3-venv',
  rclone: 'rclone',
  'systemd-nspawn': 'systemd-container',
  tinyproxy: 'tinyproxy',
  wget: 'wget',
};

/** Whether services that are installed may start is asked here by Debian's packages; 101 forbids it. */
const POLICY = '/usr/sbin/policy-rc.d';

const run = promisify(execFile);

/**
 * The path of a program that tests need.
 *
 * @param {keyof typeof PACKAGES} name
 * @returns {Promise<string>}
 * @throws {Error} that says which package brings it.
 */
export async function findProgram(name) {
  // Daemons are where the path of ordinary users does not lead.
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']) {
    const path = join(directory, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  throw new Error(`${name} is missing, which this test runs: apt-get install ${PACKAGES[name]}`);
}

/**
 * Installs what is missing, where that can be done: on Debian and its like, by root. Nothing is started.
 *
 * @param {(line: string) => void} [log] told what is happening when it takes long.
 * @throws {Error} that says what is missing when it cannot be installed.
 */
export async function ensurePrograms(log = () => undefined) {
  const missing = [];
  for (const [name, each] of Object.entries(PACKAGES)) if (!(await isThere(name))) missing.push(each);
  if (missing.length === 0) return;
  if (process.geteuid?.() !== 0) throw new Error(`only root can install ${missing.join(', ')}`);
  log(`installing ${missing.join(', ')}, which tests run`);
  const isPolicyOurs = await forbidServices();
  try {
    try {
      await install(missing);
    } catch {
      // The lists of packages may be missing or old.
      await run('apt-get', ['update', '-q']);
      await install(missing);
    }
  } finally {
    if (isPolicyOurs) await rm(POLICY, { force: true });
  }
}

async function isThere(name) {
  try {
    const path = await findProgram(name);
    // Debian has the half of Python that makes environments in a package of its own.
    if (name === 'python3') await run(path, ['-c', 'import ensurepip, venv']);
    return true;
  } catch {
    return false;
  }
}

async function install(packages) {
  const options = ['-q', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300'];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  await run('apt-get', ['install', ...options, ...packages], { env, maxBuffer: 64 * 1024 * 1024 });
}

/** Keeps packages from starting their services. Returns whether the policy is ours, and so to be removed. */
async function forbidServices() {
  try {
    await writeFile(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await ensurePrograms((line) => process.stderr.write(`${line}\n`));
  } catch (error) {
    process.stderr.write(`${error.stderr || error.message}\n`);
    process.exitCode = 1;
  }
}
