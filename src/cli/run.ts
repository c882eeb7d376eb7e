import type { Argv } from 'yargs';
import { ROLES, type Role } from '../config/descriptor.ts';
import { EXIT } from '../protocol/errors.ts';
import { joinBooleans } from './boolean-flags.ts';
import { reportError } from './errors.ts';
import type { CommandContext, Io } from './io.ts';
import { readVersion } from './version.ts';

const COMPLETION_FLAG = '--get-yargs-completions';

/** The subcommands, the first word of a command line. */
const COMMANDS = ['router', 'connector', 'app', 'token', 'demo', 'bench', 'completion'];

/**
 * Runs one command line of relay.
 * @param argv the words after `relay`
 * @returns the exit code; what went wrong has been told on `io.stderr`
 */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const command = COMMANDS.find((each) => each === firstWord(argv));
  try {
    const version = readVersion();
    // What is asked most often by scripts, and needs no parser.
    if (argv.length === 1 && argv[0] === '--version') io.stdout.write(`${version}\n`);
    else await runCommandLine(argv, { io, version, completing: argv.includes(COMPLETION_FLAG) });
    return EXIT.ok;
  } catch (thrown) {
    return reportError(thrown, io.stderr, { command, debug: isDebugging(argv, io) });
  }
}

async function runCommandLine(argv: readonly string[], context: CommandContext): Promise<void> {
  const words = joinBooleans(argv);
  const role = ROLES.find((each) => each === firstWord(words));
  if (role && words.includes('--print-config') && !words.includes('--help')) return printRole(role, words, context);
  const parser = await createParser(words, context);
  let output = '';
  await parser.parseAsync([...words], {}, (_error: unknown, _args: unknown, text: string) => {
    output = text;
  });
  if (output) context.io.stdout.write(`${output}\n`);
}

/** Shows the configuration of a role; the command line may be without what the command itself asks for. */
async function printRole(role: Role, words: readonly string[], { io }: CommandContext): Promise<void> {
  const [{ addOptions, flagsOf }, { printConfig }, { createYargs }] = await Promise.all([
    import('./flags.ts'),
    import('../config/print.ts'),
    import('./parser.ts'),
  ]);
  const args = await addOptions(createYargs(words), role)
    .strict(false)
    .strictOptions()
    .parseAsync([...words]);
  io.stdout.write(printConfig(role, flagsOf(args), io.surroundings));
}

async function createParser(words: readonly string[], context: CommandContext): Promise<Argv> {
  const { createYargs } = await import('./parser.ts');
  const { routerCommand } = await import('./router.ts');
  const { connectorCommand } = await import('./connector.ts');
  const { completionCommand } = await import('./completion.ts');
  const parser = createYargs(words, COMMANDS)
    .usage('$0 <command> [options]')
    .version(context.version)
    .command(routerCommand(context))
    .command(connectorCommand(context));
  // A command line that is still being typed is not to be checked.
  if (context.completing) parser.middleware = () => parser;
  // These bring more with them, and are loaded only when they are meant.
  if (words.includes('app')) parser.command((await import('./app/index.ts')).appCommand(context));
  else parser.command('app <command>', 'Ask the router for datasets, connectors and more');
  if (words.includes('token')) parser.command((await import('./token.ts')).tokenCommand(context));
  else parser.command('token <command>', 'Make the tokens that a router with a secret asks for');
  if (words.includes('demo')) parser.command((await import('./demo/index.ts')).demoCommand(context));
  else parser.command('demo', 'See all of it at work on this machine');
  if (words.includes('bench')) parser.command((await import('./bench/index.ts')).benchCommand(context));
  else parser.command('bench [mac] [dataset]', 'Measure the three patterns, on this machine or on your own router');
  return parser
    .command(completionCommand(context))
    .demandCommand(1, `a command is missing: ${COMMANDS.join(', ')}`)
    .epilogue('`$0 <command> --help` tells the options of a command, and the RELAY_… variables that set them.');
}

function firstWord(argv: readonly string[]): string | undefined {
  return argv.find((word) => !word.startsWith('-'));
}

function isDebugging(argv: readonly string[], io: Io): boolean {
  const flag = argv.find((word) => word.startsWith('--log-level='))?.split('=')[1];
  const level = flag ?? (argv.includes('--log-level') ? argv[argv.indexOf('--log-level') + 1] : undefined);
  return ['debug', 'trace'].includes(level ?? io.surroundings.env.RELAY_LOG_LEVEL ?? '');
}
