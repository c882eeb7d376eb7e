import { expect, test } from '@jest/globals';
import { main } from '../../../src/cli/run.ts';
import { FakeIo } from './fake-io.ts';

const create = async (...globs: string[]): Promise<{ code: number; out: string; err: string }> => {
  const io = new FakeIo({ RELAY_SECRET: 's'.repeat(40) });
  const words = ['token', 'create', '--role', 'app', '--mac', '*'];
  const code = await main([...words, ...globs.flatMap((glob) => ['--dataset', glob])], io);
  return { code, out: io.out, err: io.err };
};

test('a token is made for globs that mean the same everywhere', async () => {
  const { code, out } = await create('reports/**', '*.{csv,txt}', 'report \\(1\\).csv');
  expect([code, out.split('.').length]).toEqual([0, 3]);
});

test.each(['@(a|b)', '+(a)', '[!a]*', 'report (1).csv', '{1..3}', './a'])(
  'none is made for %j, which other programs read otherwise',
  async (glob) => {
    const { code, out, err } = await create('reports/**', glob);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(`--dataset ${JSON.stringify(glob)}: `);
  },
);
