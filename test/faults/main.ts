/**
 * Runs the fault matrix:
 *
 *     npm run test:faults -- --count 1000 --seed S
 *     npm run test:faults -- --seed S --only 17
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { formatReport, isBad, runMatrix } from './matrix.ts';
import { formatSummary } from './summary.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    seed: { type: 'string', default: randomBytes(4).toString('hex') },
    only: { type: 'string', multiple: true, default: [] },
    lanes: { type: 'string', default: '4' },
  },
});
const { seed } = values;
const indices =
  values.only.length > 0 ? values.only.map(Number) : Array.from({ length: Number(values.count) }, (_, i) => i);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

say(`seed ${seed}`);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(signal)));
const reports = await runMatrix({
  seed,
  indices,
  lanes: Number(values.lanes),
  signal: stop.signal,
  onReport: (report) => say(formatReport(report)),
}).catch((error: unknown) => {
  if (!stop.signal.aborted) throw error;
  process.exit(130);
});
const bad = reports.filter(isBad);
say(`\n${formatSummary(reports)}\nseed ${seed}`);
for (const report of bad) {
  say(`\n${formatReport(report)}\nagain: npm run test:faults -- --seed ${seed} --only ${report.plan.index}`);
}
process.exitCode = bad.length > 0 ? 1 : 0;
