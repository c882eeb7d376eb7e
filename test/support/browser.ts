import { type BrowserContext, chromium } from 'playwright-core';
import { findProgram } from '../../scripts/test-programs.mjs';
import { makeTempDir } from './router.ts';

const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

/** A browser of its own, which knows no one. @param token the password that it logs in with where it is asked. */
export async function openBrowser(token?: string): Promise<AsyncDisposable & { context: BrowserContext }> {
  await using resources = new AsyncDisposableStack();
  const profile = resources.use(await makeTempDir());
  const context = await chromium.launchPersistentContext(profile.path, {
    executablePath: await findProgram('chromium'),
    args: QUIET,
    headless: true,
    acceptDownloads: true,
    ...(token !== undefined && { httpCredentials: { username: 'anybody', password: token } }),
  });
  resources.defer(() => context.close());
  const opened = resources.move();
  return { context, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
