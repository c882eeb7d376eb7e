import type { IncomingMessage, ServerResponse } from 'node:http';
import { choosePattern, type Pattern } from '../../protocol/choose-pattern.ts';
import { createRequestId } from '../../protocol/request-id.ts';
import type { Context } from '../context.ts';
import { explainFailure } from '../dataset-answer.ts';
import type { Exchange } from '../exchange.ts';
import { sendError } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { Transfer } from '../transfer.ts';
import type { TransferMeta } from '../sink.ts';
import { acceptEncoding } from './accept-encoding.ts';
import { answerBuffered, type Asked, openBody } from './buffered-answer.ts';
import { buffer } from './buffering.ts';
import { EitherSink } from './either-sink.ts';
import { MemorySink } from './memory-sink.ts';
import { describeOffload } from './offload-facts.ts';
import { holdToAge } from './min-age.ts';
import { holdToPrefix } from './on-change.ts';
import { selectPart } from './part.ts';
import type { ResponseBody } from './response-body.ts';
import { ResponseSink, type StreamOptions } from './response-sink.ts';

/**
 * Pattern B: the app's response carries the bytes while the connector sends them. The app's socket sets the pace, back
 * through the router to the connector's disk. A connector that breaks off and comes back goes on where it was.
 */
export function stream(
  context: Context,
  record: RequestRecord,
  request: IncomingMessage,
  response: ServerResponse,
  options: StreamOptions = {},
): void {
  const { wantDigest = false, part, ifMatch, mayBuffer = false } = options;
  const asked = { record, request, response };
  const body = openBody(context, asked);
  const headers: StreamOptions['headers'] = (facts) => ({
    ...options.headers?.(facts),
    ...describeOffload(context, asked, facts, part),
  });
  const passing = new ResponseSink(request, response, body, record, { ...options, headers });
  const sink = mayBuffer ? chooseLater(context, asked, body, passing, options) : passing;
  const transfer = new Transfer(sink, part);
  record.progress = () => ({ bytesDone: transfer.bytesDone, ...sink.known });
  let exchange: Exchange | undefined;
  exchange = context.dispatcher.submit({
    id: record.id,
    mac: record.mac,
    name: 'get_dataset_stream',
    command: ({ hello }) => {
      if (!transfer.isBegun)
        passing.expectDigest = wantDigest && part === undefined && hello.capabilities.has('digest');
      return {
        command: 'get_dataset_stream',
        request_id: record.id,
        dataset_name: record.dataset,
        ...holdToPrefix(hello, record.onChange),
        ...holdToAge(hello, record.minAgeS),
        ...selectPart(part, transfer.resumption, ifMatch),
        ...(passing.expectDigest && { want_digest: true }),
        ...acceptEncoding(hello),
        ...(hello.capabilities.has('parallel') && { window_end: transfer.openWindow(context.windowBudget) }),
      };
    },
    resend: 'with-offset',
    beginTimeoutMs: () => context.options.firstByteTimeoutMs,
    silenceTimeoutMs: () => context.options.silenceTimeoutMs,
    answer: {
      transfer,
      fail: (thrown) => {
        const error = explainFailure(thrown, options);
        const isUnknown = error.code === 'not_supported' && exchange?.failedByConnector === true;
        if (mayBuffer && isUnknown && !transfer.isBegun) {
          // Its node knows pattern A alone.
          const commandId = createRequestId(context.routerId);
          buffer(context, record, request, response, { ...options, wantDigest, commandId, asBytes: true });
          return;
        }
        if (sink.isAnswered) record.succeed();
        else record.fail(error);
        transfer.abort(error);
        if (sink instanceof EitherSink) sink.release();
        if (!sink.isAnswered) sendError(request, response, error);
      },
    },
  });
  transfer.attach(exchange);
  record.onAbort((error) => exchange?.fail(error));
  if (sink instanceof EitherSink) sink.onError = (error) => exchange?.fail(error);
  passing.onBegin = () => {
    record.run();
    const passage = context.nodeLines.follow(record.mac, 'stream', passing.known.totalSize);
    if (passage === undefined) return;
    passing.onBytes = (count) => passage.carry(count);
    passing.onEnd = () => {
      record.succeed();
      passage.end(transfer.waitedMs);
    };
  };
  passing.onEnd = () => record.succeed();
}

/** How long an app may wait for the first byte of what is gathered, in ms. */
const GATHER_MS = 50;

/** Gathers what is small, or passes it on, when its size is known. */
function chooseLater(
  context: Context,
  asked: Asked,
  body: ResponseBody,
  passing: ResponseSink,
  options: StreamOptions,
): EitherSink {
  const { budget, nodeLines, options: settings } = context;
  const { record } = asked;
  const gathering = new MemorySink(budget, settings.bufferMaxBytes, options);
  gathering.onBegin = () => record.run();
  gathering.onEnd = (bytes) => {
    record.succeed();
    answerBuffered(asked, body, gathering, bytes, { ...options, asBytes: true });
  };
  const { offset = 0, length = Infinity } = options.part ?? {};
  const gathers = ({ totalSize }: TransferMeta): boolean => {
    const rate = nodeLines.find(record.mac)?.stream.known(performance.now());
    const choice = choosePattern({
      open: ROUTER_PATTERNS,
      size: totalSize === undefined ? undefined : Math.min(length, totalSize - offset),
      streamRate: rate && rate * 1000,
      // Half of it is for those who ask for pattern A by its name.
      roomBytes: Math.min(settings.bufferMaxBytes, budget.left - settings.bufferTotalBytes / 2),
    });
    return choice?.pattern === 'sync';
  };
  return new EitherSink(passing, gathering, { gathers, gatherMs: settings.gatherMs ?? GATHER_MS });
}

const ROUTER_PATTERNS: readonly Pattern[] = ['sync', 'stream'];
