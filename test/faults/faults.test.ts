import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { formatReport, isBad, runMatrix } from './matrix.ts';
import { formatSummary } from './summary.ts';

const COUNT = 60;
const LANES = 6;

test(`${COUNT} faults at random moments cost no wrong file, no hang and no leak`, async () => {
  const seed = randomBytes(4).toString('hex');
  process.stderr.write(`faults: seed ${seed}\n`);
  const reports = await runMatrix({ seed, indices: Array.from({ length: COUNT }, (_, index) => index), lanes: LANES });
  process.stderr.write(`${formatSummary(reports)}\nfaults: seed ${seed}\n`);
  const again = (index: number): string => `npm run test:faults -- --seed ${seed} --only ${index}`;
  const bad = reports.filter(isBad).map((report) => `${formatReport(report)}\n${again(report.plan.index)}`);
  expect(bad).toEqual([]);
}, 600_000);
