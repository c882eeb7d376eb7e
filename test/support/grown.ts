import { once } from 'node:events';
import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Resolves when a file has that many bytes. */
export async function grown(directory: string, name: string, bytes: number): Promise<void> {
  const size = async (): Promise<number> => (await stat(join(directory, name)).catch(() => ({ size: 0 }))).size;
  // Watched from before the first look, so that no change falls between the two.
  using stack = new DisposableStack();
  const changes = stack.adopt(watch(directory), (watcher) => watcher.close());
  for (;;) {
    const changed = once(changes, 'change');
    if ((await size()) >= bytes) return;
    await changed;
  }
}
