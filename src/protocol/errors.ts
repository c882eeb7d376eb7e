/**
 * What a code means everywhere at once: the HTTP status that carries it, the exit code of the command line, and whether
 * asking again may help. `status` is null for what only ever happens inside an app and never travels.
 */
interface ErrorKind {
  readonly status: number | null;
  readonly exitCode: number;
  readonly retryable: boolean;
  readonly title: string;
}

/** The exit codes of the command line. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  offline: 4,
  timedOut: 5,
  notAuthorised: 6,
  notAsPromised: 7,
  tryAgain: 8,
  cannotWrite: 9,
  notThisWay: 10,
  someFailed: 11,
  interrupted: 130,
} as const;

const kind = (status: number | null, exitCode: number, retryable: boolean, title: string): ErrorKind => ({
  status,
  exitCode,
  retryable,
  title,
});

/** Every code that relay knows, in one table. Codes with a status travel as `application/problem+json` (RFC 9457). */
export const ERRORS = {
  invalid_request: kind(400, EXIT.usage, false, 'The request is malformed'),
  unauthorized: kind(401, EXIT.notAuthorised, false, 'A valid token is needed'),
  forbidden: kind(403, EXIT.notAuthorised, false, 'Not allowed'),
  url_expired: kind(403, EXIT.tryAgain, true, 'The signed URL has expired'),
  not_found: kind(404, EXIT.notFound, false, 'No such resource'),
  connector_not_found: kind(404, EXIT.notFound, false, 'No connector with this MAC address was ever seen'),
  dataset_not_found: kind(404, EXIT.notFound, false, 'The connector offers no such dataset'),
  method_not_allowed: kind(405, EXIT.failed, false, 'The method is not allowed here'),
  dataset_changed: kind(409, EXIT.notAsPromised, true, 'The dataset changed while it was being sent'),
  offset_mismatch: kind(409, EXIT.failed, false, 'The chunk leaves a gap'),
  request_gone: kind(410, EXIT.failed, false, 'The request has ended, or never was'),
  cancelled: kind(410, EXIT.failed, false, 'The request was cancelled'),
  precondition_failed: kind(412, EXIT.notAsPromised, false, 'The dataset is not the one that was asked for'),
  dataset_too_large: kind(413, EXIT.notThisWay, false, 'The dataset is too large for this pattern'),
  range_not_satisfiable: kind(416, EXIT.failed, false, 'The range lies outside the dataset'),
  upgrade_required: kind(426, EXIT.failed, false, 'The other side speaks another protocol version'),
  too_many_requests: kind(429, EXIT.tryAgain, true, 'Too many requests'),
  internal: kind(500, EXIT.failed, false, 'An internal defect'),
  not_supported: kind(501, EXIT.notThisWay, false, 'The connector cannot do this'),
  offload_unavailable: kind(501, EXIT.notThisWay, false, 'Offloading is not available'),
  connector_failed: kind(502, EXIT.failed, true, 'The connector broke off or gave an unusable answer'),
  dataset_unreadable: kind(502, EXIT.failed, false, 'The connector may not read the dataset'),
  connector_offline: kind(503, EXIT.offline, true, 'The connector is not connected'),
  dataset_too_recent: kind(503, EXIT.tryAgain, true, 'The dataset was changed too recently'),
  data_dir_unavailable: kind(503, EXIT.tryAgain, true, "The connector's data directory is not there"),
  store_unavailable: kind(503, EXIT.tryAgain, true, 'The object store is not available'),
  overloaded: kind(503, EXIT.tryAgain, true, 'The other side is at its limit'),
  draining: kind(503, EXIT.tryAgain, true, 'The other side is going down'),
  request_timeout: kind(504, EXIT.timedOut, true, 'What was waited for did not come in time'),
  http_version_not_supported: kind(505, EXIT.notThisWay, false, 'HTTP/1.1 is needed'),
  store_full: kind(507, EXIT.notThisWay, false, 'The object store has no space left'),

  usage: kind(null, EXIT.usage, false, 'The command line is wrong'),
  timed_out: kind(null, EXIT.timedOut, false, 'The time allowed has run out'),
  content_mismatch: kind(null, EXIT.notAsPromised, true, 'What arrived is not what was promised'),
  unverified: kind(null, EXIT.notAsPromised, false, 'The content could not be verified'),
  router_unreachable: kind(null, EXIT.tryAgain, true, 'The router cannot be reached'),
  transfer_interrupted: kind(null, EXIT.failed, true, 'The transfer broke off'),
  output_failed: kind(null, EXIT.cannotWrite, false, 'The output cannot be written'),
  some_failed: kind(null, EXIT.someFailed, false, 'Some of many failed'),
  interrupted: kind(null, EXIT.interrupted, false, 'Interrupted'),
} as const satisfies Record<string, ErrorKind>;

/** One of the closed set of codes that tell errors apart. Never compare messages. */
export type ErrorCode = keyof typeof ERRORS;

/** Facts beyond code and message that travel with an error as members of the problem document (RFC 9457 §3.2). */
export interface ErrorDetails {
  /** Overrides the code's own answer to whether asking again may help. */
  retryable?: boolean;
  /** The request that failed. */
  request_id?: string;
  /** Seconds after which asking again makes sense; also sent as `Retry-After`. */
  retry_after?: number;
  /** When the connector was last connected (RFC 3339), null if never. */
  last_seen?: string | null;
  /** The offset that the receiver waits for. */
  next_offset?: number;
  /** Up to where chunks may be sent before it is their turn. */
  window_end?: number;
  /** Size of the whole dataset in bytes. */
  size?: number;
  /** The limit that was exceeded, in bytes. */
  limit?: number;
  /** The proxy that refused, where the router never had a say. */
  proxy?: string;
  /** The HTTP status by which a gateway in front of the router said that it gave up waiting for it. */
  gateway_status?: number;
}

/** Whether `code` is one of relay's own. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}

/**
 * The one error class. The code decides HTTP status, exit code and whether to retry; the message is for people and says
 * what happened and, where it helps, what to do next.
 */
export class RelayError extends Error {
  override readonly name = 'RelayError';
  readonly code: ErrorCode;
  readonly details: Readonly<ErrorDetails>;

  constructor(
    code: ErrorCode,
    message: string = ERRORS[code].title,
    options: ErrorOptions & { details?: ErrorDetails } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.details = options.details ?? {};
  }

  /** The HTTP status that carries this error; 500 for what should never have travelled. */
  get status(): number {
    return ERRORS[this.code].status ?? 500;
  }

  /** The exit code of the command line for this error. */
  get exitCode(): number {
    return this.code === 'request_gone' && this.retryable ? EXIT.tryAgain : ERRORS[this.code].exitCode;
  }

  /** Whether the same request may succeed when it is made again. */
  get retryable(): boolean {
    return this.details.retryable ?? ERRORS[this.code].retryable;
  }

  /** The same error with more facts. */
  with(details: ErrorDetails): RelayError {
    return new RelayError(this.code, this.message, {
      ...('cause' in this && { cause: this.cause }),
      details: { ...this.details, ...details },
    });
  }

  /** Whatever was thrown, as a RelayError: itself, or `code` (default `internal`) with the original as its cause. */
  static from(thrown: unknown, code: ErrorCode = 'internal'): RelayError {
    if (thrown instanceof RelayError) return thrown;
    const message = code === 'internal' ? undefined : `${ERRORS[code].title}: ${describe(thrown)}`;
    return new RelayError(code, message, { cause: thrown });
  }
}

function describe(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message || thrown.name;
  try {
    return String(thrown);
  } catch {
    return `a thrown ${typeof thrown}`;
  }
}
