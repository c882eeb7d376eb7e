import { describe, expect, test } from '@jest/globals';
import { explainError } from '../../../../src/cli/app/explain.ts';
import { type ErrorCode, type ErrorDetails, RelayError } from '../../../../src/index.ts';
import { MAC } from '../../client/stub-server.ts';

const now = new Date('2026-01-31T14:00:00Z');

async function explain(code: ErrorCode, details: ErrorDetails = {}, names: readonly string[] = []): Promise<string> {
  const client = {
    async *datasets() {
      for (const name of names) yield { name, size: 1 };
      if (names.length === 0) throw new RelayError('connector_offline');
    },
  };
  const error = new RelayError(code, 'what happened', { details });
  const explained = await explainError(error, { client: client as never, mac: MAC, dataset: 'sales.cvs', now });
  expect(explained).toMatchObject({ code, details });
  return explained.message;
}

describe('an offline connector', () => {
  test('was there, since when it is not', async () => {
    const text = await explain('connector_offline', { last_seen: '2026-01-31T12:00:00Z' });
    expect(text).toContain(`${MAC} is offline, last seen 2 h ago (2026-01-31T12:00:00Z)`);
    expect(text).toContain('--wait');
  });

  test('was never there', async () => {
    const text = await explain('connector_offline', { last_seen: null });
    expect(text).toContain('has never been connected');
    expect(text).toContain('relay app connectors');
  });
});

describe('a dataset that is not there', () => {
  test('comes with the nearest names, safe to show', async () => {
    const text = await explain('dataset_not_found', {}, ['sales.csv', 'x', 'sales.\u001bvs']);
    expect(text).toContain(String.raw`Is one of these meant: 'sales.\x1bvs', sales.csv?`);
    expect(await explain('dataset_not_found', {}, ['sales.csv'])).toContain('Is sales.csv meant?');
  });

  test('comes without, where there are none or they cannot be had', async () => {
    expect(await explain('dataset_not_found')).toBe(
      `what happened\n\`relay app datasets ${MAC}\` lists what there is.`,
    );
  });
});

test('one too large names the pattern to use', async () => {
  expect(await explain('dataset_too_large')).toContain(`relay app request-stream ${MAC} sales.cvs`);
});

test.each<ErrorCode>([
  'connector_not_found',
  'offload_unavailable',
  'store_full',
  'dataset_changed',
  'dataset_unreadable',
  'data_dir_unavailable',
  'request_timeout',
  'unverified',
  'timed_out',
])('%s says what to do next', async (code) => {
  expect((await explain(code)).split('\n')).toHaveLength(2);
});

test('a gateway that ends silence leaves the patterns that are not silent', async () => {
  const text = await explain('request_timeout', { gateway_status: 504, retryable: false });
  expect(text).toContain(`\`relay app request-stream ${MAC} sales.cvs\``);
  expect(text).toContain('request-offload');
  expect(text).not.toContain('its log');
});

test('a certificate that nobody vouches for comes with --ca', async () => {
  const cause = new Error('fetch failed', {
    cause: Object.assign(new Error('x'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }),
  });
  const client = { datasets: () => Promise.reject(new Error('unused')) } as never;
  const error = await explainError(new RelayError('router_unreachable', 'no answer', { cause }), { client });
  expect(error.message).toContain('--ca');
});

test('other errors stay as they are', async () => {
  expect(await explain('internal')).toBe('what happened');
});
