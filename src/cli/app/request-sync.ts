import { Buffer } from 'node:buffer';
import { saveTo, verify } from '../../files.ts';
import { createDigest, finishDigest } from '../../http/digest.ts';
import type { Content, SyncAnswer } from '../../index.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addDatasetArguments, TRANSFER_OPTIONS } from './arguments.ts';
import { noteGrowth, Output, print } from './output.ts';
import { runSession, type Session } from './session.ts';

/** `relay app request-sync`: pattern A, one complete answer. */
export function requestSyncCommand(context: CommandContext): AppCommand<{ mac: string; dataset: string }> {
  return {
    command: 'request-sync <mac> <dataset>',
    describe: 'Get a dataset in one complete answer (pattern A): for small files',
    builder: (yargs) =>
      addOptions(addDatasetArguments(yargs), 'app', {
        names: [...TRANSFER_OPTIONS, 'json'],
        completing: context.completing,
      })
        .usage('$0 app request-sync <mac> <dataset> [options]')
        .example('$0 app request-sync cc-28-aa-01-02-03 config.yaml', '')
        .example('$0 app request-sync cc-28-aa-01-02-03 config.yaml --json', 'the data in a JSON answer'),
    handler: (args) => runSession(context, args, args, (session) => requestSync(session, args.mac, args.dataset)),
  };
}

async function requestSync(session: Session, mac: string, dataset: string): Promise<void> {
  const { client, config, signal } = session;
  const { onChange, minAgeMs } = config;
  if (config.json) return printAnswer(session, mac, dataset);
  const output = new Output(session);
  await output.prepare();
  await session.retrying(
    () => output.deliver(() => client.requestSyncBytes(mac, dataset, { signal, onChange, minAgeMs })),
    () => output.mayTryAgain,
  );
}

/** With `-o` the JSON goes to the file. */
async function printAnswer(session: Session, mac: string, dataset: string): Promise<void> {
  const { client, config, signal, io } = session;
  const answer = await session.retrying(async () => {
    const { onChange, minAgeMs } = config;
    const received = await client.requestSync(mac, dataset, { signal, onChange, minAgeMs });
    return (await isVerified(received, config.verify)) ? received : { ...received, unverified: true };
  });
  if ('unverified' in answer) session.note('unverified: the node gave no digest, so only the size was checked');
  noteGrowth(session, answer.size, answer.current_size);
  const text = `${JSON.stringify(answer)}\n`;
  if (config.output === undefined || config.output === '-') return print(io, text, signal);
  await saveTo(config.output, toContent(text), { signal });
}

async function isVerified({ data, encoding, size, digest }: SyncAnswer, requireDigest: boolean): Promise<boolean> {
  const bytes = Buffer.from(data, encoding);
  const received = { size: bytes.length, digest: finishDigest(createDigest().update(bytes)) };
  const { verified } = await verify(received, { size, digest: () => Promise.resolve(digest) }, requireDigest);
  return verified;
}

function toContent(text: string): Content {
  const bytes = Buffer.from(text);
  const digest = finishDigest(createDigest().update(bytes));
  return { size: bytes.length, body: new Blob([bytes]).stream(), digest: () => Promise.resolve(digest) };
}
