import { processSurroundings } from '../config/surroundings.ts';
import { EXIT } from '../protocol/errors.ts';
import { main } from './run.ts';

/**
 * Runs relay as a process: the words of its command line in, the exit code out.
 * @param argv the words after `relay`
 */
export async function run(argv: string[]): Promise<void> {
  // Commands look at their own writes; a reader of help or listings that has seen enough, such as `head`, is no error.
  process.stdout.on('error', () => {});
  const { stdin, stdout, stderr } = process;
  const code = await main(argv, { stdin, stdout, stderr, surroundings: processSurroundings(), signals: process });
  process.exitCode = code;
  // Who says it twice does not want to wait for what is still open.
  if (code === EXIT.interrupted) process.exit();
}
