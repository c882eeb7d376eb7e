import type { Logger } from '../observability/logger.ts';
import type { RouterMetrics } from '../observability/metrics.ts';
import { traceIdOf } from '../protocol/trace-context.ts';
import type { RequestRecord } from './request-log.ts';

/** Counts a request of an app that has ended, and writes it to the log. */
export function reportEnd(record: RequestRecord, metrics: RouterMetrics, logger: Logger): void {
  const ms = performance.now() - record.startedAt;
  const bytes = record.progress().bytesDone;
  const code = record.error?.code ?? 'ok';
  const isPassedOn = record.kind === 'sync' || record.kind === 'stream';
  const beginSeconds =
    isPassedOn && record.beganAt !== undefined ? (record.beganAt - record.startedAt) / 1000 : undefined;
  metrics.countRequest({ pattern: record.kind, code, seconds: ms / 1000, beginSeconds, bytes });
  const line = {
    request_id: record.id,
    mac: record.mac,
    dataset: record.dataset,
    pattern: record.kind,
    token_id: record.tokenId,
    code,
    bytes,
    ms: Math.round(ms),
    ...(record.traceparent !== undefined && { trace_id: traceIdOf(record.traceparent) }),
  };
  if (record.error === undefined) logger.info(line, 'request done');
  else logger.warn({ ...line, detail: record.error.message }, 'request failed');
}
