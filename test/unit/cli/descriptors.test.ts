import { describe, expect, test } from '@jest/globals';
import { fitConnections, readDescriptorLimit } from '../../../src/cli/descriptors.ts';
import { run } from '../../support/processes.ts';

describe('connections and descriptors', () => {
  test('all that are allowed, where there are descriptors for them', () => {
    const { maxConnections, neededDescriptors } = fitConnections(20_000, 65_536);
    expect({ maxConnections, neededDescriptors }).toEqual({ maxConnections: 20_000, neededDescriptors: 30_150 });
    expect(fitConnections(20_000, neededDescriptors).maxConnections).toBe(20_000);
    expect(fitConnections(20_000, undefined).maxConnections).toBe(20_000);
  });

  test('fewer than there are descriptors, where these do not do', () => {
    expect(fitConnections(20_000, 30_149).maxConnections).toBeLessThan(20_000);
    expect(fitConnections(20_000, 1024).maxConnections).toBe(582);
    expect(fitConnections(20_000, 200).maxConnections).toBe(33);
    expect(fitConnections(20_000, 20).maxConnections).toBe(1);
  });
});

test('the limit is that of the process', async () => {
  const module = `import { readDescriptorLimit } from './src/cli/descriptors.ts'; console.log(readDescriptorLimit())`;
  const { stdout } = await run('sh', [
    '-c',
    `ulimit -n 321; exec "${process.execPath}" --input-type=module -e "${module}"`,
  ]);
  expect(stdout.toString()).toBe('321\n');
  expect(readDescriptorLimit()).not.toBe(321);
});
