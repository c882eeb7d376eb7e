import type { Writable } from 'node:stream';
import { EXIT, type ErrorCode, RelayError } from '../protocol/errors.ts';
import { escapeForTerminal } from './escape.ts';

/** Errors that a command has told in a way of its own. */
const reported = new WeakSet<Error>();

/** Says that an error has been told already: only its exit code is still wanted. */
export function markReported(error: Error): void {
  reported.add(error);
}

/** What to do next, for codes whose messages cannot know it. */
export const HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  router_unreachable: 'Is the router running, and is --router (RELAY_ROUTER) its address?',
  unauthorized:
    'Give a token of the router: --token-file, or RELAY_TOKEN. `relay token create --help` tells how one is made.',
  internal: 'This is a defect of relay. RELAY_LOG_LEVEL=debug shows where it arose.',
};

function hintOf({ code, details }: RelayError): string | undefined {
  // A token of the router is no use to a proxy.
  if (code === 'unauthorized' && details.proxy !== undefined) return PROXY_HINT;
  return HINTS[code];
}

const PROXY_HINT = "The proxy's user name and password go into its URL: http://USER:PASSWORD@HOST:PORT.";

/** How an error is told. */
interface ReportOptions {
  /** The subcommand, such as `router`, whose help a usage error points to. */
  readonly command?: string | undefined;
  /** Whether to add the stack, and those of the causes. */
  readonly debug?: boolean;
}

/**
 * Tells what was thrown on `stderr`, `relay: message` and a hint below it, and gives the exit code. This is the only
 * place that does. What came from outside is escaped, so that no name of a file can write to the terminal.
 */
export function reportError(thrown: unknown, stderr: Writable, { command, debug = false }: ReportOptions = {}): number {
  const error = isSystemError(thrown) ? undefined : RelayError.from(thrown);
  if (thrown instanceof Error && reported.has(thrown)) return error?.exitCode ?? EXIT.failed;
  const lines = [`relay: ${escapeLines(messageOf(thrown, error))}`];
  const hint =
    error?.code === 'usage' ? `Try \`relay${command ? ` ${command}` : ''} --help\`.` : error && hintOf(error);
  if (hint) lines.push(hint);
  if (debug) lines.push(...stacksOf(thrown));
  stderr.write(`${lines.join('\n')}\n`);
  return error?.exitCode ?? EXIT.failed;
}

function messageOf(thrown: unknown, error: RelayError | undefined): string {
  if (error && error.code !== 'internal') return error.message;
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}

/** An error of the operating system, such as a port that is taken: told as it is, and no defect. */
function isSystemError(thrown: unknown): boolean {
  return thrown instanceof Error && !(thrown instanceof RelayError) && 'syscall' in thrown && 'code' in thrown;
}

/** Escaped line by line: messages and stacks have several. */
const escapeLines = (text: string): string => text.split('\n').map(escapeForTerminal).join('\n');

function stacksOf(thrown: unknown): string[] {
  const stacks: string[] = [];
  for (let each = thrown; each instanceof Error && stacks.length < 10; each = each.cause) {
    stacks.push(`${stacks.length > 0 ? 'caused by ' : ''}${escapeLines(each.stack ?? each.message)}`);
  }
  return stacks;
}
