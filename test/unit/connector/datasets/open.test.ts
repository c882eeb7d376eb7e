import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { platform } from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { DataDir } from '../../../../src/connector/datasets/data-dir.ts';
import { openDataset } from '../../../../src/connector/datasets/open.ts';
import { findNormalized, isOwnSpelling } from '../../../../src/connector/datasets/resolve-name.ts';
import { RelayError } from '../../../../src/protocol/errors.ts';
import { Churn, countDescriptors, named, Sandbox, watchRace } from '../support-dir.ts';

const SECRET = 'what lies outside';
const run = promisify(execFile);

async function readAll(dataDir: DataDir, name: string): Promise<string> {
  await using dataset = await openDataset(dataDir, named(name));
  const buffer = Buffer.alloc(dataset.facts.size);
  if (buffer.length > 0) await dataset.read(buffer, buffer.length, 0);
  return buffer.toString('utf8');
}

/** What became of opening `name`: its content, or the code of the error. */
async function outcome(dataDir: DataDir, name: string): Promise<string> {
  try {
    return await readAll(dataDir, name);
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    return error.code;
  }
}

/** Puts something else in a file's place in one step. */
async function replaceBy(file: string, make: (temporary: string) => Promise<unknown>): Promise<void> {
  await make(`${file}.new`);
  await rename(`${file}.new`, file);
}

/** A data directory with all that may lead astray, and secrets around it. */
async function createMaze(): Promise<Sandbox> {
  const sandbox = await Sandbox.create({
    'plain.csv': 'plain',
    'sub/deep/file.txt': 'deep',
    '.hidden': 'hidden',
    '.git/config': 'config',
    'sub/.env': 'env',
    'a b#c%20d.txt': 'odd',
    'smile-😀.txt': 'smile',
    'sub/own~1.csv': 'own',
    empty: '',
  });
  const { top, data } = sandbox;
  await writeFile(path.join(top, 'secret.txt'), SECRET);
  await mkdir(path.join(top, 'data-sibling'));
  await writeFile(path.join(top, 'data-sibling/secret.txt'), SECRET);
  await symlink('plain.csv', path.join(data, 'link-in'));
  await symlink(path.join(data, 'sub'), path.join(data, 'link-in-dir'));
  await symlink('../secret.txt', path.join(data, 'link-out'));
  await symlink('/etc/passwd', path.join(data, 'link-passwd'));
  await symlink('..', path.join(data, 'link-up'));
  await symlink('../data-sibling', path.join(data, 'link-sibling'));
  await symlink('sub/../../secret.txt', path.join(data, 'link-around'));
  await symlink('loop-b', path.join(data, 'loop-a'));
  await symlink('loop-a', path.join(data, 'loop-b'));
  await symlink('.', path.join(data, 'self'));
  await symlink('nowhere', path.join(data, 'dangling'));
  await symlink('/proc/self/environ', path.join(data, 'link-environ'));
  await symlink('/dev/zero', path.join(data, 'link-device'));
  await run('mkfifo', [path.join(data, 'fifo')]);
  return sandbox;
}

describe('opening a dataset', () => {
  test.each([
    ['plain.csv', 'plain'],
    ['sub/deep/file.txt', 'deep'],
    ['a b#c%20d.txt', 'odd'],
    ['smile-😀.txt', 'smile'],
    ['empty', ''],
    ['link-in', 'plain'],
    ['link-in-dir/deep/file.txt', 'deep'],
    ['self/self/plain.csv', 'plain'],
    // Not offered, and not to be told apart from what is not there.
    ...[
      'missing',
      'sub',
      'sub/deep',
      'plain.csv/x',
      'plain.csv/',
      '..',
      '../secret.txt',
      'sub/../../secret.txt',
      '/etc/passwd',
      '/',
      '.',
      './plain.csv',
      'sub//deep/file.txt',
      '',
      'link-out',
      'link-passwd',
      'link-up/secret.txt',
      'link-up/data/plain.csv/../../../secret.txt',
      'link-sibling/secret.txt',
      'link-around',
      'loop-a',
      'loop-a/x',
      'dangling',
      'link-environ',
      'link-device',
      'fifo',
      '.hidden',
      '.git/config',
      'sub/.env',
      'plain.csv\0.txt',
      'x'.repeat(300),
      `${'x/'.repeat(2000)}x`,
    ].map((name) => [name, 'dataset_not_found']),
    // What a file system may take for another name: none of it is in the directory.
    ...['LINK-~1', 'GIT~1/config', 'sub/ENV~1', 'PLAIN.CSV', 'Sub/deep/file.txt'].map((name) => [
      name,
      'dataset_not_found',
    ]),
    ['sub/own~1.csv', 'own'],
  ])('%j gives %j', async (name, expected) => {
    await using maze = await createMaze();
    for (const rules of [platform, 'darwin'] as const) {
      const dataDir = await DataDir.open(maze.data, { hidden: false, platform: rules });
      // The protocol refuses some of these before; the connector does not rely on it.
      expect([rules, await outcome(dataDir, name)]).toEqual([rules, expected]);
    }
  });

  test.each(['linux', 'darwin'] as const)(
    'a short alias counts only where the directory has it (%s)',
    async (rules) => {
      await using sandbox = await Sandbox.create({ 'GIT~1/config': 'own', 'sub/plain': 'plain' });
      expect(await isOwnSpelling(sandbox.data, 'sub/plain', rules)).toBe(true);
      // Whether it is an alias is not asked of the one who would open it, but of what the directory lists.
      expect(await isOwnSpelling(sandbox.data, 'GIT~2/config', rules)).toBe(false);
      expect(await findNormalized(sandbox.data, 'GIT~1/config', rules)).toBe('GIT~1/config');
      expect(await findNormalized(sandbox.data, 'GIT~2/config', rules)).toBe(undefined);
    },
  );

  test('a link back into the directory by way of its parent is allowed, since it ends inside', async () => {
    await using maze = await createMaze();
    const dataDir = await DataDir.open(maze.data, { hidden: false, platform });
    expect(await outcome(dataDir, 'link-up/data/plain.csv')).toBe('plain');
  });

  test('all that is not offered gets the same answer', async () => {
    await using maze = await createMaze();
    const dataDir = await DataDir.open(maze.data, { hidden: false, platform });
    const messages = new Set<string>();
    for (const name of ['missing', 'link-out', 'fifo', '.hidden', 'sub', 'loop-a', 'plain.csv/x']) {
      const error = await openDataset(dataDir, named(name)).then(
        () => undefined,
        (thrown: RelayError) => thrown,
      );
      messages.add((error as RelayError).message.replace(JSON.stringify(name), 'NAME'));
    }
    expect([...messages]).toEqual(['the connector offers no dataset NAME']);
  });

  test('hidden files open when they are asked for', async () => {
    await using maze = await createMaze();
    const dataDir = await DataDir.open(maze.data, { hidden: true, platform });
    expect(await outcome(dataDir, '.git/config')).toBe('config');
    expect(await outcome(dataDir, 'sub/.env')).toBe('env');
    expect(await outcome(dataDir, '../secret.txt')).toBe('dataset_not_found');
  });

  test('a data directory that is itself a link serves what it leads to', async () => {
    await using maze = await createMaze();
    const link = path.join(maze.top, 'current');
    await symlink('data', link);
    const dataDir = await DataDir.open(link, { hidden: false, platform });
    expect(await outcome(dataDir, 'sub/deep/file.txt')).toBe('deep');
    expect(await outcome(dataDir, 'link-out')).toBe('dataset_not_found');
  });

  test('a FIFO does not block, even with nobody at its other end', async () => {
    await using maze = await createMaze();
    const dataDir = await DataDir.open(maze.data, { hidden: false, platform });
    const start = performance.now();
    await Promise.all(Array.from({ length: 20 }, () => outcome(dataDir, 'fifo')));
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test('no name at all opens anything outside', async () => {
    await using maze = await createMaze();
    const dataDir = await DataDir.open(maze.data, { hidden: true, platform });
    const entries = await readdir(maze.data);
    const part = fc.oneof(
      fc.constantFrom(
        ...entries,
        '..',
        '.',
        '',
        'secret.txt',
        'data',
        'deep',
        '...',
        '~',
        '..\\',
        'etc',
        'passwd',
        'proc',
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.string({ maxLength: 12 }),
    );
    const allowed = new Set(['plain', 'deep', 'hidden', 'config', 'env', 'odd', 'smile', 'own', '']);
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 6 }), fc.boolean(), async (parts, absolute) => {
        const result = await outcome(dataDir, (absolute ? '/' : '') + parts.join('/'));
        expect(allowed.has(result) || result === 'dataset_not_found').toBe(true);
      }),
      { numRuns: 1500 },
    );
  });

  test('a directory that is swapped for a link, again and again, never gives what lies outside', async () => {
    await using sandbox = await Sandbox.create({ 'box/file': 'inside' });
    await mkdir(path.join(sandbox.top, 'outside'));
    await writeFile(path.join(sandbox.top, 'outside/file'), SECRET);
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    const box = path.join(sandbox.data, 'box');
    const away = path.join(sandbox.data, 'box-away');
    const swap = new Churn(async () => {
      await rename(box, away);
      await Churn.pause();
      await symlink('../outside', box);
      await Churn.pause();
      await unlink(box);
      await rename(away, box);
      await Churn.pause();
    });
    const expected = ['inside', 'dataset_not_found'];
    const seen = await watchRace(1500, expected, () =>
      Promise.all(Array.from({ length: 8 }, () => outcome(dataDir, 'box/file'))),
    );
    await swap.stop();
    expect([...seen].toSorted()).toEqual(expected.toSorted());
  });

  test('a file that is swapped for a FIFO or a link is refused or whole, and never blocks', async () => {
    await using sandbox = await Sandbox.create({ file: 'inside' });
    await writeFile(path.join(sandbox.top, 'secret'), SECRET);
    await run('mkfifo', [path.join(sandbox.data, 'pipe')]);
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    const file = path.join(sandbox.data, 'file');
    const swap = new Churn(async () => {
      await replaceBy(file, (temporary) => symlink('../secret', temporary));
      await replaceBy(file, (temporary) => run('mkfifo', [temporary]));
      await replaceBy(file, (temporary) => writeFile(temporary, 'inside'));
      await Churn.pause();
    });
    const expected = ['inside', 'dataset_not_found'];
    const seen = await watchRace(1500, expected, async () => [await outcome(dataDir, 'file')]);
    await swap.stop();
    expect([...seen].toSorted()).toEqual(expected.toSorted());
  });

  test('names are compared exactly first, then in NFC', async () => {
    const nfc = 'caf\u00e9/\u00fcber.csv';
    const nfd = nfc.normalize('NFD');
    await using sandbox = await Sandbox.create({ [nfd]: 'decomposed' });
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    expect(await outcome(dataDir, nfd)).toBe('decomposed');
    expect(await outcome(dataDir, nfc)).toBe('decomposed');
    await sandbox.write(nfc, 'composed');
    expect(await outcome(dataDir, nfc)).toBe('composed');
    expect(await outcome(dataDir, nfd)).toBe('decomposed');
    await using dataset = await openDataset(dataDir, named(nfc));
    expect(dataset.facts.name).toBe(nfc);
  });

  test('names in mixed forms find the file, part by part', async () => {
    const stored = `${'é'.normalize('NFD')}/${'ö'.normalize('NFC')}.txt`;
    const asked = `${'é'.normalize('NFC')}/${'ö'.normalize('NFD')}.txt`;
    await using sandbox = await Sandbox.create({ [stored]: 'mixed' });
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    expect(await outcome(dataDir, asked)).toBe('mixed');
    await using dataset = await openDataset(dataDir, named(asked));
    expect(dataset.facts.name).toBe(stored);
  });

  test('a file that may not be read is dataset_unreadable', async () => {
    await using sandbox = await Sandbox.create({ 'locked.csv': 'locked' });
    await chmod(path.join(sandbox.data, 'locked.csv'), 0);
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    // Permissions do not hold root back.
    expect(await outcome(dataDir, 'locked.csv')).toBe(process.getuid?.() === 0 ? 'locked' : 'dataset_unreadable');
  });

  test('gives back every descriptor, whatever happens', async () => {
    await using maze = await createMaze();
    const dataDir = await DataDir.open(maze.data, { hidden: false, platform });
    const before = await countDescriptors();
    for (let i = 0; i < 50; i++) {
      for (const name of ['plain.csv', 'link-out', 'fifo', 'missing', 'link-environ']) await outcome(dataDir, name);
    }
    expect(await countDescriptors()).toBeLessThanOrEqual(before);
  });
});

test.each(['linux', 'darwin'] as const)('a dataset that is closed is not read any more (%s)', async (rules) => {
  await using sandbox = await Sandbox.create({ 'a.csv': 'first', 'b.csv': 'other' });
  const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform: rules });
  const dataset = await openDataset(dataDir, named('a.csv'));
  const buffer = Buffer.alloc(5);
  const reading = dataset.read(buffer, 5, 0);
  await dataset[Symbol.asyncDispose]();
  // Its descriptor may be that of another file by now.
  await using _other = await openDataset(dataDir, named('b.csv'));
  await expect(dataset.read(Buffer.alloc(5), 5, 0)).rejects.toMatchObject({ code: 'cancelled' });
  await expect(dataset.verify()).rejects.toMatchObject({ code: 'cancelled' });
  await reading;
  expect(buffer.toString()).toBe('first');
});

describe('the data directory', () => {
  test('that is gone, or is no directory any more, is data_dir_unavailable for every name', async () => {
    await using sandbox = await Sandbox.create({ 'a.csv': 'a' });
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    await rename(sandbox.data, `${sandbox.data}-away`);
    expect(await outcome(dataDir, 'a.csv')).toBe('data_dir_unavailable');
    expect(await outcome(dataDir, '.hidden')).toBe('data_dir_unavailable');
    await writeFile(sandbox.data, 'a file now');
    expect(await outcome(dataDir, 'a.csv')).toBe('data_dir_unavailable');
    await rm(sandbox.data);
    await rename(`${sandbox.data}-away`, sandbox.data);
    expect(await outcome(dataDir, 'a.csv')).toBe('a');
  });

  test('that was a mount point and no longer is one is data_dir_unavailable', async () => {
    await using sandbox = await Sandbox.create({ 'a.csv': 'left under the mount' });
    const link = path.join(sandbox.top, 'share');
    await symlink('/dev/shm', link);
    const dataDir = await DataDir.open(link, { hidden: false, platform });
    expect(await outcome(dataDir, 'a.csv')).toBe('dataset_not_found');
    await unlink(link);
    await symlink(sandbox.data, link);
    await expect(openDataset(dataDir, named('a.csv'))).rejects.toMatchObject({
      code: 'data_dir_unavailable',
      message: expect.stringContaining('no longer mounted'),
    });
  });

  test('is refused at the start with its name', async () => {
    await using sandbox = await Sandbox.create({ 'a.csv': 'a' });
    const missing = path.join(sandbox.top, 'not-there');
    await expect(DataDir.open(missing, { hidden: false, platform })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(missing),
    });
    const file = path.join(sandbox.data, 'a.csv');
    await expect(DataDir.open(file, { hidden: false, platform })).rejects.toMatchObject({
      code: 'usage',
      message: `the data directory ${file} is not a directory`,
    });
  });
});

describe('the entity tag', () => {
  test('changes with content, time and file, and not otherwise', async () => {
    await using sandbox = await Sandbox.create({ 'a.csv': 'one' });
    const dataDir = await DataDir.open(sandbox.data, { hidden: false, platform });
    const tag = async (): Promise<string> => {
      await using dataset = await openDataset(dataDir, named('a.csv'));
      return dataset.facts.etag;
    };
    const first = await tag();
    expect(first).toMatch(/^"[\w-]{22}"$/);
    expect(await tag()).toBe(first);
    await using handle = await open(path.join(sandbox.data, 'a.csv'), constants.O_WRONLY);
    await handle.utimes(1, 1);
    const second = await tag();
    expect(second).not.toBe(first);
    await handle.utimes(1, 1);
    await writeFile(`${sandbox.data}/new`, 'one');
    await rename(`${sandbox.data}/new`, `${sandbox.data}/a.csv`);
    expect(await tag()).not.toBe(second);
  });
});
