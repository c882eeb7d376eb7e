import type { Argv, CommandModule } from 'yargs';
import type { CommandContext } from '../io.ts';
import { type AppCommand, relax } from './arguments.ts';
import { connectorsCommand } from './connectors.ts';
import { datasetsCommand } from './datasets.ts';
import { requestCommand } from './request.ts';
import { requestOffloadCommand } from './request-offload.ts';
import { requestStreamCommand } from './request-stream.ts';
import { requestSyncCommand } from './request-sync.ts';
import { statCommand } from './stat.ts';
import { urlCommand } from './url.ts';

/** `relay app …`: what an app asks the router for. */
export function appCommand(context: CommandContext): CommandModule {
  return {
    command: 'app',
    describe: 'Ask the router for datasets, connectors and more',
    // The types of yargs do not know the second argument.
    builder: (yargs: Argv, isHelp?: boolean) => {
      const commands = [
        requestCommand(context),
        requestSyncCommand(context),
        requestStreamCommand(context),
        requestOffloadCommand(context),
        connectorsCommand(context),
        datasetsCommand(context),
        statCommand(context),
        urlCommand(context),
      ] as unknown as AppCommand<object>[];
      for (const { command, ...module } of commands) {
        yargs.command({ ...module, command: isHelp === true ? command : relax(command) });
      }
      return yargs.usage('$0 app <command> [options]').demandCommand(1, 'a command of app is missing');
    },
    // One of the commands above always takes its place.
    handler: () => undefined,
  };
}
