import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { startOwnConnector } from '../../support/own-connector.ts';
import { ask } from '../../support/plain-app.ts';
import { startRouter } from '../../support/router.ts';

test('what a connector may send is shared by all that it sends', async () => {
  await using router = await startRouter();
  const bytes = randomBytes(1_500_000);
  await using _ = await startOwnConnector(router.url, bytes, { maxBytesPerSecond: 3_000_000 });
  const begun = performance.now();
  const paths = ['/datasets/request-stream', '/datasets/request-sync', '/datasets/request-stream'];
  const answers = await Promise.all(
    paths.map((path) => ask(router.url, path, undefined, { Accept: 'application/octet-stream' }).answer),
  );
  // 4.5 MB of the three together, less what may go at once.
  expect(performance.now() - begun).toBeGreaterThan(1300);
  for (const answer of answers) expect(answer.bytes.equals(bytes)).toBe(true);
});
