import { describe, expect, test } from '@jest/globals';
import type { Clock } from '../../../src/connector/clock.ts';
import { Authorization } from '../../../src/connector/authorization.ts';
import { recordLog } from './support-connector.ts';

const HOUR_MS = 3_600_000;
const tokenUntil = (ms: number): string =>
  `x.${Buffer.from(JSON.stringify({ exp: Math.floor((Date.now() + ms) / 1000) })).toString('base64url')}.x`;

describe('the token of a connector', () => {
  test('goes over https, and over http to this machine', () => {
    for (const url of ['https://relay.example.com', 'http://127.0.0.1:8080', 'http://localhost', 'http://[::1]:1']) {
      const made = new Authorization({ routerUrl: new URL(url), token: () => 'abc', allowHttp: false });
      expect(made.headers()).toEqual({ Authorization: 'Bearer abc' });
    }
  });

  test('does not go over http to another machine unless that is allowed', () => {
    const make = (allowHttp: boolean): Authorization =>
      new Authorization({ routerUrl: new URL('http://relay.example.com'), token: () => 'abc', allowHttp });
    expect(() => make(false)).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(make(true).headers()).toEqual({ Authorization: 'Bearer abc' });
    const none = new Authorization({ routerUrl: new URL('http://relay.example.com'), allowHttp: false });
    expect([none.headers(), none.hasNewToken()]).toEqual([{}, false]);
  });

  test('does not go over http to a proxy, to which this machine is another one', () => {
    const make = (url: string, allowHttp: boolean): Authorization =>
      new Authorization({
        routerUrl: new URL(url),
        token: () => 'abc',
        allowHttp,
        chooseProxy: () => new URL('http://user:pass@192.0.2.2:3999'),
      });
    expect(() => make('http://127.0.0.1:8080', false)).toThrow(/unencrypted to the proxy http:\/\/192\.0\.2\.2:3999:/);
    expect(make('http://127.0.0.1:8080', true).headers()).toEqual({ Authorization: 'Bearer abc' });
    expect(make('https://127.0.0.1:8443', false).headers()).toEqual({ Authorization: 'Bearer abc' });
  });

  test('may change, and is then one that was not refused', () => {
    let token = 'old';
    const made = new Authorization({ routerUrl: new URL('https://r'), token: () => token, allowHttp: false });
    made.headers();
    expect(made.hasNewToken()).toBe(false);
    token = 'new';
    expect(made.hasNewToken()).toBe(true);
    expect(made.headers()).toEqual({ Authorization: 'Bearer new' });
    expect(made.hasNewToken()).toBe(false);
  });
});

/** Lets `hours` pass and returns what was logged meanwhile. */
async function watch(token: string | undefined, hours: number): Promise<string[]> {
  const { logger, lines } = recordLog();
  const stop = new AbortController();
  let now = 0;
  const clock: Clock = {
    now: () => now,
    random: () => 0,
    sleep: (ms) => {
      now += ms;
      if (now > hours * HOUR_MS) stop.abort();
      return Promise.resolve();
    },
  };
  const made = new Authorization({
    routerUrl: new URL('https://r'),
    token: token === undefined ? undefined : () => token,
    allowHttp: false,
  });
  await made.watchExpiry(logger, clock, stop.signal);
  return lines.map(({ msg }) => msg);
}

describe('the end of a token', () => {
  test('is warned of once a day in its last week', async () => {
    expect(await watch(tokenUntil(6 * 24 * HOUR_MS), 47)).toEqual([
      expect.stringMatching(/expires soon/),
      expect.stringMatching(/expires soon/),
    ]);
  });

  test('is not spoken of before, nor where there is none', async () => {
    expect(await watch(tokenUntil(8 * 24 * HOUR_MS), 47)).toEqual([]);
    expect(await watch('abc', 47)).toEqual([]);
    expect(await watch('x.y.z', 47)).toEqual([]);
    expect(await watch(undefined, 47)).toEqual([]);
  });

  test('is told as such once it is over', async () => {
    expect(await watch(tokenUntil(-HOUR_MS), 1)).toEqual([expect.stringMatching(/has expired/)]);
  });
});
