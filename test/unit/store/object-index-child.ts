/** Writes into an index, says so, and waits to be killed. */
import { silentLogger } from '../../../src/observability/logger.ts';
import { ObjectIndex } from '../../../src/store/object-index.ts';

const START = new Date('2026-01-01T00:00:00Z');
const index = new ObjectIndex({ path: String(process.argv[2]), logger: silentLogger() });
index.add({
  key: 'a',
  mac: 'cc-28-aa-01-02-03',
  dataset: 'a.csv',
  etag: '"1"',
  size: 1,
  digest: null,
  lastModified: null,
  createdAt: START,
});
index.touch('a', { usedAt: START, urlExpiresAt: new Date(START.getTime() + 3_600_000) });
index.beginUpload('b');
process.send?.('written');
