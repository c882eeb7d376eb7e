import { once } from 'node:events';
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';

export const MAC = 'cc-28-aa-01-02-03';

/** A command as it came down the link, unchecked. */
export type RawCommand = Record<string, unknown> & { command: string; request_id: string };

/** The answer to a POST of the connector's. */
export interface Reply {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** A connector that does only what a test tells it to. */
export class PlainConnector implements AsyncDisposable {
  readonly url: string;
  readonly socket: WebSocket;
  readonly #headers: http.OutgoingHttpHeaders;
  readonly #commands: RawCommand[] = [];
  #wakeUp: (() => void) | undefined;

  private constructor(url: string, socket: WebSocket, headers: http.OutgoingHttpHeaders) {
    this.url = url;
    this.socket = socket;
    this.#headers = headers;
    socket.on('message', (data) => {
      this.#commands.push(JSON.parse(String(data)) as RawCommand);
      this.#wakeUp?.();
    });
    socket.on('error', () => {});
  }

  /** Opens a WebSocket link. @param token sent with the link and with every POST. */
  static async connect(
    url: string,
    {
      mac = MAC,
      capabilities = '',
      token,
      instance,
    }: { mac?: string; capabilities?: string; token?: string; instance?: string } = {},
  ): Promise<PlainConnector> {
    const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const socket = new WebSocket(`${url.replace('http', 'ws')}/connectors/${mac}/socket`, 'relay.v1', {
      headers: {
        'Relay-Capabilities': capabilities,
        ...(instance !== undefined && { 'Relay-Instance': instance }),
        ...authorization,
      },
    });
    const connector = new PlainConnector(url, socket, authorization);
    await once(socket, 'open');
    return connector;
  }

  /** The next command. */
  async next(): Promise<RawCommand> {
    while (this.#commands.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve;
      });
    }
    return this.#commands.shift() as RawCommand;
  }

  /** POSTs JSON. */
  post(path: string, body: object): Promise<Reply> {
    return read(
      open(this.url, path, { ...this.#headers, 'Content-Type': 'application/json' }).end(JSON.stringify(body)),
    );
  }

  /** POSTs bytes. */
  postBytes(path: string, id: string, bytes: Buffer | string, headers: http.OutgoingHttpHeaders = {}): Promise<Reply> {
    return read(open(this.url, path, { ...this.#headers, 'Relay-Request-Id': id, ...headers }).end(bytes));
  }

  /** Begins a binary POST that the test writes itself. */
  begin(
    path: string,
    id: string,
    headers: http.OutgoingHttpHeaders = {},
  ): { request: ClientRequest; reply: Promise<Reply> } {
    const request = open(this.url, path, { ...this.#headers, 'Relay-Request-Id': id, ...headers });
    request.flushHeaders();
    const reply = read(request);
    reply.catch(() => {});
    return { request, reply };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    this.socket.terminate();
    await once(this.socket, 'close');
  }
}

function open(url: string, path: string, headers: http.OutgoingHttpHeaders): ClientRequest {
  return http.request(`${url}${path}`, { method: 'POST', headers, agent: false });
}

async function read(request: ClientRequest): Promise<Reply> {
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece as string;
  return { status: response.statusCode ?? 0, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
}
