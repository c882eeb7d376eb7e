import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from '../context.ts';
import { explainFailure, type Wanted } from '../dataset-answer.ts';
import { sendError } from '../reply.ts';
import type { RequestRecord } from '../request-log.ts';
import { Transfer } from '../transfer.ts';
import { acceptEncoding } from './accept-encoding.ts';
import { answerBuffered, type BufferedAnswerOptions, openBody } from './buffered-answer.ts';
import { MemorySink, tooLargeToBuffer } from './memory-sink.ts';
import { holdToAge } from './min-age.ts';
import { holdToPrefix } from './on-change.ts';
import { selectPart } from './part.ts';

/** How the app wants its answer. */
interface BufferOptions extends Wanted, BufferedAnswerOptions {
  /** Bring the SHA-256 of the whole, where the connector can. */
  readonly wantDigest: boolean;
  /** The id of its command; default the request's, which another command may have used up. */
  readonly commandId?: string;
}

/** Pattern A: the whole dataset is taken in, and then the app gets one complete answer. */
export function buffer(
  context: Context,
  record: RequestRecord,
  request: IncomingMessage,
  response: ServerResponse,
  options: BufferOptions,
): void {
  const { bufferMaxBytes } = context.options;
  const { wantDigest, part, ifMatch, commandId = record.id } = options;
  const sink = new MemorySink(context.budget, bufferMaxBytes, options);
  const transfer = new Transfer(sink, part);
  record.progress = () => ({ bytesDone: transfer.bytesDone, ...sink.known });
  const exchange = context.dispatcher.submit({
    id: commandId,
    mac: record.mac,
    name: 'get_dataset',
    command: ({ hello }) => ({
      command: 'get_dataset',
      request_id: commandId,
      dataset_name: record.dataset,
      max_size: bufferMaxBytes,
      ...holdToPrefix(hello, record.onChange),
      ...holdToAge(hello, record.minAgeS),
      ...selectPart(part, transfer.resumption, ifMatch),
      ...acceptEncoding(hello),
      ...(wantDigest && part === undefined && hello.capabilities.has('digest') && { want_digest: true }),
    }),
    resend: 'always',
    beginTimeoutMs: () => context.options.firstByteTimeoutMs,
    silenceTimeoutMs: () => context.options.silenceTimeoutMs,
    answer: {
      transfer,
      fail: (thrown) => {
        const error = explainFailure(thrown, options);
        if (sink.isAnswered) record.succeed();
        else record.fail(error);
        transfer.abort(error);
        sink.release();
        if (sink.isAnswered) return;
        const { size } = error.details;
        sendError(
          request,
          response,
          error.code === 'dataset_too_large' ? tooLargeToBuffer(size, bufferMaxBytes).with(error.details) : error,
        );
      },
    },
  });
  transfer.attach(exchange);
  record.onAbort((error) => exchange.fail(error));
  sink.onBegin = () => record.run();
  sink.onEnd = (bytes) => {
    record.succeed();
    const asked = { record, request, response };
    answerBuffered(asked, openBody(context, asked), sink, bytes, options);
  };
}
