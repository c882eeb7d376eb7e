import { answerBuffering } from './buffering.ts';
import { answerDigest, answerList, answerStat } from './catalog.ts';
import type { Handler, Outcome, RequestCommand, RequestContext } from './handler.ts';
import { answerOffloading } from './offloading.ts';
import { answerStreaming } from './streaming.ts';

const HANDLERS: { readonly [N in RequestCommand['command']]: Handler<N> } = {
  get_dataset: answerBuffering,
  get_dataset_stream: answerStreaming,
  get_dataset_offload: answerOffloading,
  stat: answerStat,
  list: answerList,
  digest: answerDigest,
};

/** Answers a command by the pattern, or the entry of the catalog, that it names. */
export function answerCommand(command: RequestCommand, context: RequestContext): Promise<Outcome> {
  // The table's type holds each handler to its command; the compiler cannot follow that through the lookup.
  const handler = HANDLERS[command.command] as (command: RequestCommand, context: RequestContext) => Promise<Outcome>;
  return handler(command, context);
}

/** A command as the log shows it, without what signs an upload. */
export function describeCommand(command: RequestCommand): Record<string, unknown> {
  if (command.command === 'list') {
    const { cursor, prefix, glob, delimiter, min_age } = command;
    return { command: command.command, cursor, prefix, glob, delimiter, min_age };
  }
  const { offset, length } = command as { offset?: number; length?: number };
  const { command: name, dataset_name: dataset, on_change, min_age } = command;
  return { command: name, dataset, offset, length, on_change, min_age };
}
