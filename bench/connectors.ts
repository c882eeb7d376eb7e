import { Connector } from '../src/connector/connector.ts';
import { createLog } from '../src/observability/logger.ts';
import { parseMac } from '../src/protocol/mac.ts';

/**
 * Many real connectors in one process, each with a link of its own over WebSocket: `connectors.ts URL DATA_DIR FIRST COUNT`.
 * Prints `online N` whenever the number of those with a link has changed.
 */
const [url = '', dataDir = '', first = '0', count = '0'] = process.argv.slice(2);
/** How many may be about to connect at once while they begin; coming back they keep their own pace. */
const BEGINNING_AT_ONCE = 50;

const { logger } = createLog({ role: 'connector', level: 'fatal', format: 'json' });
let online = 0;

function note(change: number): void {
  online += change;
  process.stdout.write(`online ${online}\n`);
}

async function begin(number: number): Promise<void> {
  const mac = parseMac(number.toString(16).padStart(12, '0'));
  if (mac instanceof Error) throw mac;
  const options = { routerUrl: new URL(url), mac, dataDir, transport: 'websocket', version: 'bench', logger } as const;
  const connector = new Connector(options);
  let isOnline = false;
  const turn = (to: boolean): void => {
    if (to !== isOnline) note(to ? 1 : -1);
    isOnline = to;
  };
  connector.on('offline', () => turn(false));
  const connected = new Promise<void>((resolve) => {
    connector.on('online', () => {
      turn(true);
      resolve();
    });
  });
  void connector.run();
  await connected;
}

let next = Number(first);
const end = next + Number(count);
await Promise.all(
  Array.from({ length: BEGINNING_AT_ONCE }, async () => {
    while (next < end) await begin(next++);
  }),
);
