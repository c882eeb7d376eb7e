import { S3Client } from '@aws-sdk/client-s3';

export interface S3ClientOptions {
  /** `us-east-1` by default. */
  readonly region?: string;
  /** Whether the bucket stands in the path in place of the host name; by default where an endpoint is given. */
  readonly forcePathStyle?: boolean;
  /** By default the SDK looks for them where AWS documents it (environment, files, metadata of the machine). */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  /** Until a connection stands; 2 s by default. */
  readonly connectTimeoutMs?: number;
}

/** An S3 client that computes and asks for no checksum beyond what S3 needs: others do not know them, and a URL would carry that of an empty body. */
export function createS3Client(options: S3ClientOptions, endpoint: string | undefined): S3Client {
  return new S3Client({
    region: options.region ?? 'us-east-1',
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    ...(endpoint !== undefined && { endpoint }),
    ...(options.credentials !== undefined && { credentials: options.credentials }),
    maxAttempts: 2,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: options.connectTimeoutMs ?? 2_000 },
  });
}

/**
 * Runs an action until a deadline, its search for credentials included, which no signal reaches.
 * @throws {DOMException} TimeoutError when the deadline has passed.
 */
export async function withDeadline<T>(action: (signal: AbortSignal) => Promise<T>, timeoutMs: number): Promise<T> {
  const controller = new AbortController();
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const reason = new DOMException(`no answer within ${timeoutMs / 1000} s`, 'TimeoutError');
    reject(reason);
    controller.abort(reason);
  }, timeoutMs);
  try {
    return await Promise.race([action(controller.signal), expired]);
  } finally {
    clearTimeout(timer);
  }
}

/** A URL as text without user and password, to show and to compare. */
export function stripUserInfo(url: URL): string {
  const copy = new URL(url);
  copy.username = '';
  copy.password = '';
  return copy.href.replace(/\/$/, '');
}
