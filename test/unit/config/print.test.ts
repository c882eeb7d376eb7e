import { describe, expect, test } from '@jest/globals';
import { printConfig } from '../../../src/config/print.ts';
import { Workspace } from './workspace.ts';

describe('--print-config', () => {
  test('shows each value and where it comes from, aligned', () => {
    using work = new Workspace();
    const file = work.write('.env', 'RELAY_GRACE=5s\n');
    const env = { RELAY_PORT: '9' };
    const text = printConfig('router', { host: 'localhost' }, { env, cwd: work.path, home: '/home/ada' });
    expect(text).toMatch(/^host +localhost +--host$/m);
    expect(text).toMatch(/^port +9 +RELAY_PORT in the environment$/m);
    expect(text.split('\n').find((line) => line.startsWith('grace '))).toMatch(
      new RegExp(` 5s +RELAY_GRACE in ${file}$`),
    );
    expect(text).toMatch(/^url-ttl +1h +default$/m);
    const sourceColumns = text
      .split('\n')
      .flatMap((line) => (line.endsWith(' default') ? [line.indexOf('default')] : []));
    expect(new Set(sourceColumns).size).toBe(1);
  });

  test('shows what is missing in place of failing', () => {
    expect(printConfig('connector', {}, { env: {}, cwd: '/nowhere' })).toMatch(/^mac +\(missing\)$/m);
  });

  test('masks the credentials of the store, from wherever they come', () => {
    using work = new Workspace();
    const file = work.write('.env', 'AWS_SESSION_TOKEN=secret-two\n');
    const env = { AWS_SECRET_ACCESS_KEY: 'secret-one', AWS_ACCESS_KEY_ID: 'secret-three', AWS_REGION: 'eu-north-1' };
    const text = printConfig('router', {}, { env, cwd: work.path });
    expect(text).not.toMatch(/secret-(?:one|two|three)/);
    expect(text).toMatch(/^AWS_SECRET_ACCESS_KEY +\*+ +environment$/m);
    expect(text).toContain(file);
    expect(text).toMatch(/^AWS_REGION +eu-north-1 +environment$/m);
  });
});
