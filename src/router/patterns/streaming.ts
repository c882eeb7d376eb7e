import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from '../context.ts';
import { explainFailure } from '../dataset-answer.ts';
import { sendError } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { Transfer } from '../transfer.ts';
import { acceptEncoding } from './accept-encoding.ts';
import { holdToPrefix } from './on-change.ts';
import { selectPart } from './part.ts';
import { ResponseBody } from './response-body.ts';
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
  const { wantDigest = false, part, ifMatch } = options;
  const body = new ResponseBody(response, context.appLines.of(request), context.limits.paceOf(request, record.tokenId));
  const sink = new ResponseSink(request, response, body, record, options);
  const transfer = new Transfer(sink, part);
  record.progress = () => ({ bytesDone: transfer.bytesDone, ...sink.known });
  const exchange = context.dispatcher.submit({
    id: record.id,
    mac: record.mac,
    name: 'get_dataset_stream',
    command: ({ hello }) => {
      if (!transfer.isBegun) sink.expectDigest = wantDigest && part === undefined && hello.capabilities.has('digest');
      return {
        command: 'get_dataset_stream',
        request_id: record.id,
        dataset_name: record.dataset,
        ...holdToPrefix(hello, record.onChange),
        ...selectPart(part, transfer.resumption, ifMatch),
        ...(sink.expectDigest && { want_digest: true }),
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
        if (sink.isAnswered) record.succeed();
        else record.fail(error);
        transfer.abort(error);
        if (!sink.isAnswered) sendError(request, response, error);
      },
    },
  });
  transfer.attach(exchange);
  record.onAbort((error) => exchange.fail(error));
  sink.onBegin = () => record.run();
  sink.onEnd = () => record.succeed();
}
