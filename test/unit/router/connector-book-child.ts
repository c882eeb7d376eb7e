/** Notes who comes and goes, says so, and waits to be killed. */
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { ConnectorBook } from '../../../src/router/connector-book.ts';

const book = new ConnectorBook({ path: String(process.argv[2]), logger: silentLogger() });
book.load();
const facts = { version: '1.2.3', name: 'größe', labels: { site: 'x' } };
book.noteConnected({ mac: 'cc-28-aa-01-02-03' as Mac, ...facts }, 1000, true);
book.noteConnected({ mac: 'cc-28-aa-01-02-04' as Mac, ...facts }, 2000, true);
book.noteGone('cc-28-aa-01-02-04' as Mac, 3000, false);
process.send?.('written');
