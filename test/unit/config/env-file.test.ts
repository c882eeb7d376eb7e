import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readEnvFile } from '../../../src/config/env-file.ts';
import { Workspace } from './workspace.ts';

const usage = expect.objectContaining({ code: 'usage' });

describe('the environment file', () => {
  test('gives RELAY_* and AWS_* and nothing else', () => {
    using work = new Workspace();
    const path = work.write(
      '.env',
      '# a comment\nexport RELAY_PORT=9000\nRELAY_NAME="plant 7"\nAWS_REGION=eu-north-1\nPATH=/evil\nNODE_OPTIONS=--x\nMY_RELAY_X=1\n',
    );
    expect(readEnvFile(work.path)).toEqual({
      path,
      variables: { RELAY_PORT: '9000', RELAY_NAME: 'plant 7', AWS_REGION: 'eu-north-1' },
    });
  });

  test('need not be there, unless it was named', () => {
    using work = new Workspace();
    expect(readEnvFile(work.path)).toBeUndefined();
    expect(() => readEnvFile(work.path, 'other.env')).toThrow(usage);
    expect(() => readEnvFile(work.path, 'other.env')).toThrow(/other\.env/);
  });

  test('a directory called .env is something else', () => {
    using work = new Workspace();
    mkdirSync(join(work.path, '.env'));
    expect(readEnvFile(work.path)).toBeUndefined();
    expect(() => readEnvFile(work.path, '.env')).toThrow(usage);
  });

  test.each([0o620, 0o602, 0o666, 0o664])('is refused with mode %o, which lets others write it', (mode) => {
    using work = new Workspace();
    const path = work.write('.env', 'RELAY_PORT=1\n', mode);
    expect(() => readEnvFile(work.path)).toThrow(usage);
    expect(() => readEnvFile(work.path)).toThrow(`chmod go-w ${path}`);
  });

  test.each([0o600, 0o644, 0o400])('is taken with mode %o', (mode) => {
    using work = new Workspace();
    work.write('.env', 'RELAY_PORT=1\n', mode);
    expect(readEnvFile(work.path)?.variables).toEqual({ RELAY_PORT: '1' });
  });

  test('is refused when it belongs to somebody else', () => {
    using work = new Workspace();
    const path = work.write('.env', 'RELAY_PORT=1\n');
    // Where the test runs as root it gives the file away, and else it pretends to be another.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) chownSync(path, 4711, 4711);
    const reader = isRoot ? 0 : 4711;
    expect(() => readEnvFile(work.path, undefined, reader)).toThrow(usage);
    expect(() => readEnvFile(work.path, undefined, reader)).toThrow(/belongs to another user/);
  });

  test('of another program, without a word for relay, may be as it likes', () => {
    using work = new Workspace();
    work.write('.env', 'DATABASE_URL=postgres://x\n', 0o666);
    expect(readEnvFile(work.path)?.variables).toEqual({});
  });
});
