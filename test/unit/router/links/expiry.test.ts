import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { Logger } from '../../../../src/observability/logger.ts';
import type { Mac } from '../../../../src/protocol/mac.ts';
import { Grant } from '../../../../src/router/access/grant.ts';
import { LinkExpiry } from '../../../../src/router/links/expiry.ts';
import { FakeLink, MAC, OTHER_MAC } from '../fakes.ts';

const DAY_MS = 24 * 3_600_000;

let links: FakeLink[];
let warned: object[];
let holds: boolean;
let expiry: LinkExpiry;

beforeEach(() => {
  jest.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z') });
  links = [];
  warned = [];
  holds = true;
  const logger = { warn: (facts: object) => warned.push(facts) } as unknown as Logger;
  expiry = new LinkExpiry({ links: () => links.filter(({ open }) => open), stillHolds: () => holds, logger });
});

afterEach(() => {
  expiry.close();
  const left = jest.getTimerCount();
  jest.useRealTimers();
  if (left > 0) throw new Error('a timer is left of the test');
});

/** A link by a token that expires after so long. */
function connect(leftMs: number, mac: Mac = MAC): FakeLink {
  const exp = (Date.now() + leftMs) / 1000;
  const link = new FakeLink([], { mac, grant: Grant.of({ role: 'connector', macs: [mac], exp }, 'key') });
  links.push(link);
  return link;
}

describe('a token that expires', () => {
  test('is warned of from seven days before, and not earlier', () => {
    connect(8 * DAY_MS);
    connect(6 * DAY_MS, OTHER_MAC);
    jest.advanceTimersByTime(1000);
    expect(warned).toEqual([{ mac: OTHER_MAC, token_expires_at: '2026-01-07T00:00:00.000Z' }]);
    jest.advanceTimersByTime(DAY_MS - 2000);
    expect(warned).toHaveLength(1);
    jest.advanceTimersByTime(2000);
    expect(warned.map((facts) => (facts as { mac: Mac }).mac).toSorted()).toEqual([MAC, OTHER_MAC, OTHER_MAC]);
  });

  test('is warned of once a day, however often its connector reconnects', () => {
    for (let count = 0; count < 5; count++) {
      const link = connect(6 * DAY_MS);
      jest.advanceTimersByTime(1000);
      link.terminate();
      jest.advanceTimersByTime(1000);
    }
    expect(warned).toHaveLength(1);
    connect(6 * DAY_MS);
    jest.advanceTimersByTime(DAY_MS);
    expect(warned).toHaveLength(2);
  });

  test('ends its link, and says why', () => {
    const link = connect(500);
    holds = false;
    const other = connect(DAY_MS, OTHER_MAC);
    jest.advanceTimersByTime(1000);
    expect(link.closed).toEqual([{ code: 4001, reason: 'the token has expired' }]);
    expect(other.closed).toEqual([{ code: 4001, reason: 'the secret of the token is no longer valid' }]);
    expect(warned).toEqual([]);
  });
});
