import { describe, expect, test } from '@jest/globals';
import { choosePattern, type Pattern, type PatternFacts } from '../../../src/protocol/choose-pattern.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const ROUTER = ['sync', 'stream'] as const;
const APP = ['stream', 'offload', 'sync'] as const;

/** A line of 10 MB/s to the router, and one ten times as fast to the store. */
const STORE_IS_QUICKER = { streamRate: 10e6, uploadRate: 100e6, downloadRate: 100e6 };

describe.each<[string, readonly Pattern[], [Omit<PatternFacts, 'open'>, Pattern | undefined][]]>([
  [
    'a router that may buffer or stream',
    ROUTER,
    [
      [{}, 'stream'],
      [{ size: 0, roomBytes: GIB }, 'sync'],
      [{ size: 64 * KIB, roomBytes: GIB }, 'sync'],
      [{ size: 64 * KIB + 1, roomBytes: GIB }, 'stream'],
      // By the line: 50 ms of it may be gathered, and never more than 256 KiB.
      [{ size: 200 * KIB, roomBytes: GIB, streamRate: 5e6 }, 'sync'],
      [{ size: 200 * KIB, roomBytes: GIB, streamRate: 2e6 }, 'stream'],
      [{ size: 64 * KIB, roomBytes: GIB, streamRate: 1000 }, 'sync'],
      [{ size: 256 * KIB, roomBytes: GIB, streamRate: 1e9 }, 'sync'],
      [{ size: 256 * KIB + 1, roomBytes: GIB, streamRate: 1e9 }, 'stream'],
      // By what the router has to spare.
      [{ size: 64 * KIB, roomBytes: 64 * KIB - 1 }, 'stream'],
      [{ size: 1 }, 'stream'],
      // It never leads to the store.
      [{ size: 100 * GIB, isStored: true, isShort: true, ...STORE_IS_QUICKER }, 'stream'],
      [{ failed: [{ pattern: 'stream', code: 'not_supported' }] }, 'sync'],
      [{ failed: [{ pattern: 'stream', code: 'dataset_not_found' }] }, undefined],
    ],
  ],
  [
    'an app',
    APP,
    [
      [{}, 'stream'],
      [{ size: 0 }, 'stream'],
      [{ size: 10 ** 12 }, 'stream'],
      // Too small for a detour, whatever is known.
      [{ size: 32 * MIB - 1, isShort: true, isStored: true, ...STORE_IS_QUICKER }, 'stream'],
      [{ size: 32 * MIB, isShort: true }, 'offload'],
      [{ size: 32 * MIB, isStored: true }, 'offload'],
      [{ size: GIB, isStored: true, streamRate: 10e6 }, 'offload'],
      [{ size: GIB, isStored: true, streamRate: 10e6, downloadRate: 20e6 }, 'offload'],
      [{ size: GIB, isStored: true, streamRate: 10e6, downloadRate: 5e6 }, 'stream'],
      // 108 s by the stream; 1 s and 11 s up and 11 s down.
      [{ size: GIB, ...STORE_IS_QUICKER }, 'offload'],
      // As fast up as to the router: the way down comes on top.
      [{ size: GIB, ...STORE_IS_QUICKER, uploadRate: 10e6 }, 'stream'],
      // Quicker, and not by enough: 108 s beside 1 + 54 + 54 s, then 1 + 43 + 43 s.
      [{ size: GIB, streamRate: 10e6, uploadRate: 20e6, downloadRate: 20e6 }, 'stream'],
      [{ size: GIB, streamRate: 10e6, uploadRate: 25e6, downloadRate: 25e6 }, 'stream'],
      [{ size: GIB, streamRate: 10e6, uploadRate: 26e6, downloadRate: 26e6 }, 'offload'],
      // Only what was measured counts.
      [{ size: GIB, streamRate: 10e6, uploadRate: 100e6 }, 'stream'],
      [{ size: GIB, streamRate: 10e6, downloadRate: 100e6 }, 'stream'],
      [{ size: GIB, uploadRate: 100e6, downloadRate: 100e6 }, 'stream'],
      // The detour's own second.
      [{ size: 32 * MIB, streamRate: 30e6, uploadRate: 1e9, downloadRate: 1e9 }, 'stream'],
    ],
  ],
  [
    'an app of a router without a store',
    ['stream', 'sync'],
    [
      [{ size: GIB, isShort: true, isStored: true, ...STORE_IS_QUICKER }, 'stream'],
      [{ failed: [{ pattern: 'stream', code: 'transfer_interrupted' }] }, 'sync'],
    ],
  ],
  [
    'an app whose stream has failed',
    APP,
    [
      [{ failed: [{ pattern: 'stream', code: 'transfer_interrupted' }] }, 'offload'],
      [{ failed: [{ pattern: 'stream', code: 'connector_failed' }] }, 'offload'],
      [{ failed: [{ pattern: 'stream', code: 'request_timeout' }] }, 'offload'],
      // A node that knows pattern A alone.
      [{ failed: [{ pattern: 'stream', code: 'not_supported' }] }, 'sync'],
      // What any way would only meet again.
      [{ failed: [{ pattern: 'stream', code: 'dataset_not_found' }] }, undefined],
      [{ failed: [{ pattern: 'stream', code: 'connector_offline' }] }, undefined],
      [{ failed: [{ pattern: 'stream', code: 'dataset_changed' }] }, undefined],
      [{ failed: [{ pattern: 'stream', code: 'content_mismatch' }] }, undefined],
      [{ failed: [{ pattern: 'stream', code: 'output_failed' }] }, undefined],
      [{ failed: [{ pattern: 'stream', code: 'unauthorized' }] }, undefined],
      // More requests are the last thing that such a router needs.
      [{ failed: [{ pattern: 'stream', code: 'overloaded' }] }, undefined],
    ],
  ],
  [
    'an app whose way by the store has failed',
    APP,
    [
      [{ failed: [{ pattern: 'offload', code: 'store_unavailable' }] }, 'stream'],
      [{ failed: [{ pattern: 'offload', code: 'offload_unavailable' }] }, 'stream'],
      [{ failed: [{ pattern: 'offload', code: 'store_full' }] }, 'stream'],
      [{ failed: [{ pattern: 'offload', code: 'url_expired' }] }, 'stream'],
      [{ failed: [{ pattern: 'offload', code: 'transfer_interrupted' }] }, 'stream'],
      [{ failed: [{ pattern: 'offload', code: 'dataset_not_found' }] }, undefined],
    ],
  ],
  [
    'an app that has tried more than one',
    APP,
    [
      [
        {
          failed: [
            { pattern: 'stream', code: 'connector_failed' },
            { pattern: 'offload', code: 'store_unavailable' },
          ],
        },
        'sync',
      ],
      [
        {
          failed: [
            { pattern: 'stream', code: 'not_supported' },
            { pattern: 'sync', code: 'dataset_too_large' },
          ],
        },
        'offload',
      ],
      [
        {
          failed: [
            { pattern: 'stream', code: 'request_timeout' },
            { pattern: 'offload', code: 'store_full' },
            { pattern: 'sync', code: 'dataset_too_large' },
          ],
        },
        undefined,
      ],
    ],
  ],
])('%s', (_, open, table) => {
  test.each(table)('%j: %s', (facts, pattern) => {
    const choice = choosePattern({ open, ...facts });
    expect(choice?.pattern).toBe(pattern);
    if (choice !== undefined) expect(choice.reason).toMatch(/\w/);
  });
});

test('says how long either way would take', () => {
  expect(choosePattern({ open: APP, size: GIB, ...STORE_IS_QUICKER })?.reason).toMatch(/23 s by the store and 108 s/);
  expect(choosePattern({ open: APP, failed: [{ pattern: 'stream', code: 'request_timeout' }] })?.reason).toMatch(
    /streaming.*\(request_timeout\)/,
  );
});
