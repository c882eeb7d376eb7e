import {
  type Content,
  downloadOffloaded,
  type Known,
  type OffloadAnswer,
  RelayError,
  type RequestStatus,
} from '../../index.ts';
import { addOptions } from '../flags.ts';
import type { CommandContext } from '../io.ts';
import { type AppCommand, addDatasetArguments, RESUMABLE_OPTIONS } from './arguments.ts';
import { noteGrowth, Output, print } from './output.ts';
import { runSession, type Session } from './session.ts';

/** `relay app request-offload`: pattern C, by way of an object store. */
export function requestOffloadCommand(context: CommandContext): AppCommand<{ mac: string; dataset: string }> {
  return {
    command: 'request-offload <mac> <dataset>',
    describe: 'Get a dataset by way of an object store (pattern C): for large files',
    builder: (yargs) =>
      addOptions(addDatasetArguments(yargs), 'app', {
        names: [...RESUMABLE_OPTIONS, 'json', 'url'],
        completing: context.completing,
      })
        .usage('$0 app request-offload <mac> <dataset> [options]')
        .example('$0 app request-offload cc-28-aa-01-02-03 scans.tar -o scans.tar', '')
        .example('$0 app request-offload cc-28-aa-01-02-03 scans.tar --url', 'a URL for other tools')
        .example('$0 app request-offload cc-28-aa-01-02-03 scans.tar --json', 'the answer with URL, size and digest'),
    handler: (args) => runSession(context, args, args, (session) => requestOffload(session, args.mac, args.dataset)),
  };
}

async function requestOffload(session: Session, mac: string, dataset: string): Promise<void> {
  const { config, io, signal } = session;
  if (config.json && config.url) throw new RelayError('usage', '--json and --url are two answers; ask for one');
  const savesToo = config.output !== undefined && config.output !== '-';
  const isAnswerAll = config.url || (config.json && !savesToo);
  const output = new Output(session);
  await output.prepare();
  // What the store has was sent there wrong: the same object would come again and again.
  let isSpoilt = false;
  const answer = await session.retrying(
    async () => {
      const wish = { fresh: isSpoilt };
      if (isAnswerAll) return ask(session, output, mac, dataset, wish);
      return download(session, output, mac, dataset, wish).catch((error: unknown) => {
        isSpoilt ||= error instanceof RelayError && error.code === 'content_mismatch';
        throw error;
      });
    },
    () => output.mayTryAgain,
  );
  if (isAnswerAll && answer.size !== undefined) noteGrowth(session, answer.size, answer.current_size);
  if (config.url) await print(io, `${answer.download_url}\n`, signal);
  if (config.json) {
    await print(
      io,
      `${JSON.stringify({ ...answer, ...(answer.digest === undefined && { unverified: true }) })}\n`,
      signal,
    );
  }
}

/** Which object is asked for. */
interface OffloadWish {
  /** An earlier upload does not count. */
  readonly fresh: boolean;
  /** The entity tag that the dataset must have. */
  readonly ifMatch?: string | undefined;
}

/** Asks for the upload and waits for its end. */
async function ask(
  session: Session,
  output: Output,
  mac: string,
  dataset: string,
  wish: OffloadWish,
): Promise<OffloadAnswer> {
  const { client, config, signal } = session;
  let isShown = false;
  const onProgress = ({ state, bytes_done: done, total_size: total }: RequestStatus): void => {
    if (state !== 'running') return;
    if (!isShown) output.progress.begin('uploading', total ?? undefined);
    isShown = true;
    output.progress.update(done);
  };
  try {
    // Who only wants a URL has nothing to verify.
    const wantDigest = !config.url || config.verify;
    const answer = await client.requestOffload(mac, dataset, {
      signal,
      ...wish,
      onChange: config.onChange,
      minAgeMs: config.minAgeMs,
      wantDigest,
      ...(output.showsProgress && { onProgress }),
    });
    if (config.verify && answer.digest === undefined) {
      throw new RelayError('unverified', 'the node gave no digest to verify the content by');
    }
    return answer;
  } finally {
    output.progress.end();
  }
}

async function download(
  session: Session,
  output: Output,
  mac: string,
  dataset: string,
  wish: OffloadWish,
): Promise<OffloadAnswer> {
  const { client, config, fetch, signal } = session;
  const { onChange } = config;
  // Of one that grows, the same beginning again, which is there already.
  const hold = (etag: string | undefined) => (onChange === 'prefix' ? { ifMatch: etag } : {});
  const renew = async (answer: OffloadAnswer, inner: AbortSignal | undefined): Promise<string> => {
    const options = { signal: inner ?? signal, wantDigest: false, onChange, ...hold(answer.etag) };
    const fresh = await client.requestOffload(mac, dataset, options);
    if (fresh.etag !== answer.etag || fresh.size !== answer.size) {
      throw new RelayError('dataset_changed', 'the dataset changed between two URLs for it');
    }
    return fresh.download_url;
  };
  let answer: OffloadAnswer | undefined;
  const open = async (known: Known | undefined): Promise<Content> => {
    const offloaded = await ask(session, output, mac, dataset, { ...wish, ...hold(known?.etag) });
    answer = offloaded;
    return downloadOffloaded(offloaded, {
      fetch,
      signal,
      renew: (inner) => renew(offloaded, inner),
      known,
      stallTimeoutMs: config.stallTimeoutMs,
    });
  };
  await output.deliver(open, client.datasetUrl(mac, dataset));
  if (answer === undefined) throw new RelayError('internal', 'what was delivered was never asked for');
  return answer;
}
