import { UploadPartCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { describe, expect, test } from '@jest/globals';
import { createS3Client } from '../../../src/store/s3-client.ts';
import { S3PartSigner } from '../../../src/store/s3-part-signer.ts';

const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'a secret' };

/** What a URL says, whatever the order of its parameters. */
function read(text: string): unknown {
  const { origin, pathname, searchParams } = new URL(text);
  return { origin, pathname, query: Object.fromEntries(searchParams) };
}

describe('the URLs of the parts of an upload', () => {
  test.each([
    ['a bucket in the path, on a port', { credentials }, 'http://127.0.0.1:9000'],
    ['a bucket in the host name', { credentials, region: 'eu-central-1' }, undefined],
    [
      'credentials for a session',
      { credentials: { ...credentials, sessionToken: 'a/b+c==' } },
      'https://s3.example/base',
    ],
  ])('are those that the SDK makes, with %s', async (_name, options, endpoint) => {
    const client = createS3Client(options, endpoint);
    const signer = new S3PartSigner(client);
    const part = { Bucket: 'plant', Key: "datasets/ä b+c!(1)*'~/%41.bin", UploadId: 'dGhl+aWQ/=' };
    await signer.sign({ ...part, PartNumber: 1 }, 900);
    for (;;) {
      const url = await signer.sign({ ...part, PartNumber: 17 }, 1200);
      const expected = await getSignedUrl(client, new UploadPartCommand({ ...part, PartNumber: 17 }), {
        expiresIn: 1200,
      });
      const [ours, theirs] = [url, expected].map((each) => new URL(each).searchParams.get('X-Amz-Date'));
      // A second may have begun between the two.
      if (ours !== theirs) continue;
      expect(read(url)).toEqual(read(expected));
      break;
    }
    client.destroy();
  });

  test('belong to their own upload', async () => {
    const client = createS3Client({ credentials }, 'http://127.0.0.1:9000');
    const signer = new S3PartSigner(client);
    const urls = [];
    for (const [Key, UploadId] of [
      ['one', '1'],
      ['two', '1'],
      ['one', '1'],
    ] as const)
      urls.push(new URL(await signer.sign({ Bucket: 'plant', Key, UploadId, PartNumber: 2 }, 900)));
    expect(urls.map(({ pathname, searchParams }) => [pathname, searchParams.get('uploadId')])).toEqual([
      ['/plant/one', '1'],
      ['/plant/two', '1'],
      ['/plant/one', '1'],
    ]);
    client.destroy();
  });
});
