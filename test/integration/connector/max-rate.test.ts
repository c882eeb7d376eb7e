import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Connector } from '../../../src/connector/connector.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Mac } from '../../../src/protocol/mac.ts';
import { ask } from '../../support/plain-app.ts';
import { MAC } from '../../support/plain-connector.ts';
import { makeTempDir, startRouter } from '../../support/router.ts';

test('what a connector may send is shared by all that it sends', async () => {
  await using router = await startRouter();
  await using data = await makeTempDir();
  const bytes = randomBytes(1_500_000);
  await writeFile(join(data.path, 'a.csv'), bytes);
  const connector = new Connector({
    routerUrl: new URL(router.url),
    mac: MAC as Mac,
    dataDir: data.path,
    version: '0.0.0-test',
    logger: silentLogger(),
    maxBytesPerSecond: 3_000_000,
  });
  void connector.run();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => connector.close());
  await once(connector, 'online');
  const begun = performance.now();
  const paths = ['/datasets/request-stream', '/datasets/request-sync', '/datasets/request-stream'];
  const answers = await Promise.all(
    paths.map((path) => ask(router.url, path, undefined, { Accept: 'application/octet-stream' }).answer),
  );
  // 4.5 MB of the three together, less what may go at once.
  expect(performance.now() - begun).toBeGreaterThan(1300);
  for (const answer of answers) expect(answer.bytes.equals(bytes)).toBe(true);
});
