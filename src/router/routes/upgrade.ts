import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { rawSocketOf } from '../../http/connection.ts';
import { RelayError } from '../../protocol/errors.ts';
import { CHALLENGES } from '../access/credential.ts';
import type { Grant } from '../access/grant.ts';
import { endWithProblem } from '../bare-answer.ts';
import type { Context } from '../context.ts';
import type { WebSocketLinks } from '../links/websocket.ts';
import { admitHello } from './links.ts';
import { splitTarget } from './route.ts';

const SOCKET_PATH = /^\/connectors\/([^/]+)\/socket$/;

/** Whether a request is for a connector's link over WebSocket, the one thing to upgrade to. */
export function isSocketRequest(context: Context, request: IncomingMessage): boolean {
  return matchSocketRequest(context, request) !== null;
}

/** Opens a connector's link over WebSocket, which begins as an upgrade (RFC 9110 §7.8), or says why not and closes. */
export async function upgrade(
  context: Context,
  links: WebSocketLinks,
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
): Promise<void> {
  const { access, limits, registry, options } = context;
  let grant: Grant | undefined;
  socket.on('error', () => {});
  try {
    limits.connections.check(rawSocketOf(socket));
    limits.checkHead(request);
    grant = await access.admit(request, 'connector');
    const match = matchSocketRequest(context, request);
    if (match === null) throw new RelayError('not_found', 'there is no WebSocket here');
    const { query } = splitTarget(request.url);
    const params = { mac: decodePart(match[1] ?? '') };
    const hello = admitHello(context, { request, params, query: new URLSearchParams(query), grant });
    links.accept(request, socket, head, hello, (link) => registry.connect(link));
  } catch (thrown) {
    const error = RelayError.from(thrown);
    if (error.code === 'forbidden') access.noteForbidden(request, grant);
    if (error.code === 'internal') options.logger.error({ err: thrown, url: request.url }, 'a defect');
    refuse(request, socket, error);
  }
}

function matchSocketRequest({ baseUrl }: Context, request: IncomingMessage): RegExpExecArray | null {
  if (request.headers.upgrade?.toLowerCase() !== 'websocket') return null;
  return SOCKET_PATH.exec(baseUrl.strip(splitTarget(request.url).path, request));
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Answers with an error on a socket that the server has let go of. */
function refuse({ headers }: IncomingMessage, socket: Socket, error: RelayError): void {
  const challenges = error.code === 'unauthorized' ? CHALLENGES.map((each) => `WWW-Authenticate: ${each}`) : [];
  endWithProblem(socket, error, { accept: headers.accept, fields: ['Upgrade: websocket', ...challenges] });
}
