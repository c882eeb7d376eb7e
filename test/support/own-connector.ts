import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Connector, type ConnectorOptions } from '../../src/connector/connector.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { Mac } from '../../src/protocol/mac.ts';
import { MAC } from './plain-connector.ts';
import { makeTempDir } from './router.ts';

/** relay's own connector, within the process of the tests, once it is connected. It offers these bytes as `a.csv`. */
export async function startOwnConnector(
  routerUrl: string,
  bytes: Buffer,
  options: Partial<ConnectorOptions> = {},
): Promise<AsyncDisposable> {
  const resources = new AsyncDisposableStack();
  const data = resources.use(await makeTempDir());
  await writeFile(join(data.path, 'a.csv'), bytes);
  const connector = new Connector({
    routerUrl: new URL(routerUrl),
    mac: MAC as Mac,
    dataDir: data.path,
    version: '0.0.0-test',
    logger: silentLogger(),
    ...options,
  });
  void connector.run();
  resources.defer(() => connector.close());
  await once(connector, 'online');
  return resources;
}
