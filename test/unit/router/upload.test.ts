import { expect, test } from '@jest/globals';
import type { Mac } from '../../../src/protocol/mac.ts';
import type { Link } from '../../../src/router/links/link.ts';
import { Upload } from '../../../src/router/patterns/upload.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';

/** What a command to a connector says of where the dataset goes. */
function signTarget(kind: ObjectStore['kind'], capabilities: string[]) {
  const store = {
    kind,
    signPut: (key: string) => Promise.resolve({ method: 'PUT', url: `http://store.test/${key}`, headers: {} }),
    nameObject: (key: string) => `http://store.test/${key}`,
  } as unknown as ObjectStore;
  const upload = new Upload({
    store,
    mac: 'cc-28-aa-01-02-03' as Mac,
    stat: undefined,
    urlTtlMs: 1000,
    allowsUrl: () => false,
    onParts: () => {},
    onEnd: () => {},
  });
  const hello = { baseUrl: 'http://router.test', capabilities: new Set(capabilities) };
  return upload.signTarget({ hello } as unknown as Link);
}

test.each([
  ['file', ['stat', 'gzip', 'zstd'], ['zstd', 'gzip']],
  ['file', ['gzip'], ['gzip']],
  ['file', ['stat'], undefined],
  ['s3', ['gzip', 'zstd'], undefined],
] as const)('a %s store and a connector that says %j: takes %j', async (kind, capabilities, accepted) => {
  expect((await signTarget(kind, [...capabilities])).accept_encoding).toEqual(accepted);
});
