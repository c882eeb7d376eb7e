import { type S3Client, UploadPartCommand, type UploadPartCommandInput } from '@aws-sdk/client-s3';
import { getSignedUrl, S3RequestPresigner } from '@aws-sdk/s3-request-presigner';
import { RecentMap } from '../recent-map.ts';

/** How many uploads are remembered at least. */
const REMEMBERED_UPLOADS = 256;

/** Where the parts of an upload go, and how their URLs are signed. */
interface Place {
  readonly url: URL;
  readonly region: string;
}

/**
 * Signs the URLs of parts. The SDK goes through all that makes a request of a command, a millisecond each time, of which only
 * the signature differs between the parts of one upload: it does so once for an upload, and the others are only signed.
 */
export class S3PartSigner {
  readonly #client: S3Client;
  readonly #presigner: S3RequestPresigner;
  readonly #places = new RecentMap<string, Place>(REMEMBERED_UPLOADS);

  constructor(client: S3Client) {
    this.#client = client;
    this.#presigner = new S3RequestPresigner({ ...client.config });
  }

  /** @param part `Bucket`, `Key`, `UploadId` and `PartNumber`. @param expiresIn in seconds. @returns the URL of a PUT. */
  async sign(part: UploadPartCommandInput & { readonly UploadId: string }, expiresIn: number): Promise<string> {
    // Ids of uploads need not differ between objects.
    const upload = `${part.Key}\n${part.UploadId}`;
    const place = this.#places.get(upload);
    if (place !== undefined) return this.#signAt(place, String(part.PartNumber), expiresIn);
    const url = await getSignedUrl(this.#client, new UploadPartCommand(part), { expiresIn });
    const found = readPlace(url);
    if (found !== undefined) this.#places.set(upload, found);
    return url;
  }

  async #signAt({ url, region }: Place, partNumber: string, expiresIn: number): Promise<string> {
    const { protocol, hostname, port, pathname: path, searchParams } = url;
    const { query = {} } = await this.#presigner.presign(
      {
        method: 'PUT',
        protocol,
        hostname,
        ...(port !== '' && { port: Number(port) }),
        path,
        query: { ...Object.fromEntries(searchParams), partNumber },
        headers: {},
      },
      { expiresIn, signingRegion: region },
    );
    // With the escapes that the signature was made over, and not those of forms.
    const pairs = Object.entries(query).map(([name, value]) => `${escape(name)}=${escape(String(value))}`);
    return `${url.origin}${path}?${pairs.join('&')}`;
  }
}

const OWN_PARAMETER = /^x-amz-/i;

/** What a URL of the SDK's tells; undefined where it was signed in another way than by the credentials of the client alone. */
function readPlace(signed: string): Place | undefined {
  const url = new URL(signed);
  const region = /^[^/]+\/\d{8}\/([^/]+)\/s3\/aws4_request$/.exec(url.searchParams.get('X-Amz-Credential') ?? '')?.[1];
  const isPlain = url.searchParams.get('X-Amz-Algorithm') === 'AWS4-HMAC-SHA256';
  if (!isPlain || region === undefined || url.searchParams.has('X-Amz-S3session-Token')) return undefined;
  url.search = new URLSearchParams([...url.searchParams].filter(([name]) => !OWN_PARAMETER.test(name))).toString();
  return { url, region };
}

/** RFC 3986 §2.3: all but unreserved characters. */
const escape = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
