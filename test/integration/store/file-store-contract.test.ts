import { randomBytes } from 'node:crypto';
import { silentLogger } from '../../../src/observability/logger.ts';
import { FileStore } from '../../../src/store/file-store.ts';
import { describeObjectStore } from './contract.ts';
import { startFileStore } from './file-store-server.ts';

describeObjectStore('file store', async () => {
  const server = await startFileStore();
  return {
    store: server.store,
    baseUrl: server.baseUrl,
    listsUploads: true,
    unreachable: new FileStore({
      // No directory can be made below a file.
      directory: '/dev/null/store',
      signingKey: randomBytes(32),
      isLive: () => false,
      logger: silentLogger(),
    }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
});
