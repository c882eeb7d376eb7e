import { type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { HEADER } from '../protocol/headers.ts';

type Fields = OutgoingHttpHeaders | OutgoingHttpHeader[];

/**
 * A response that carries the id of its request, once that has one, whoever writes its head. With a header that was set
 * before, Node.js writes all others one by one, which takes a tenth of what the router does for a small request.
 */
export class IdentifiedResponse extends ServerResponse {
  requestId: string | undefined;

  override writeHead(status: number, reason?: string | Fields, fields?: Fields): this {
    const { requestId } = this;
    if (requestId === undefined) return super.writeHead(status, reason as string, fields);
    if (typeof reason === 'object' && !Array.isArray(reason))
      return super.writeHead(status, { [HEADER.requestId]: requestId, ...reason });
    this.setHeader(HEADER.requestId, requestId);
    return super.writeHead(status, reason as string, fields);
  }
}
