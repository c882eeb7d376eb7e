import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { Cors } from '../../../../src/router/access/cors.ts';

const ORIGIN = 'https://dash.example';
const asked = (headers: Record<string, string>, method = 'GET'): IncomingMessage =>
  ({ method, headers }) as unknown as IncomingMessage;
const preflight = { origin: ORIGIN, 'access-control-request-method': 'GET' };

describe('answers may be read', () => {
  test('by nobody where no origin is named', () => {
    expect(new Cors([]).headersFor(asked({ origin: ORIGIN }))).toBeUndefined();
    expect(new Cors([]).preflight(asked(preflight, 'OPTIONS'))).toBeUndefined();
  });

  test('by the origins that are named, and caches are told that it depends on them', () => {
    const cors = new Cors(['http://other.example', ORIGIN]);
    expect(cors.headersFor(asked({ origin: ORIGIN }))).toMatchObject({
      'Access-Control-Allow-Origin': ORIGIN,
      'Cross-Origin-Resource-Policy': 'cross-origin',
      Vary: 'Origin',
    });
    for (const headers of [{}, { origin: 'https://evil.example' }, { origin: '*' }])
      expect(cors.headersFor(asked(headers))).toEqual({ Vary: 'Origin' });
  });

  test('by all, whoever asks', () => {
    for (const headers of [{}, { origin: ORIGIN }]) {
      const fields = new Cors(['*', ORIGIN]).headersFor(asked(headers));
      expect(fields).toMatchObject({ 'Access-Control-Allow-Origin': '*' });
      expect(fields).not.toHaveProperty('Vary');
    }
  });

  test('never with the credentials of the browser', () => {
    for (const cors of [new Cors(['*']), new Cors([ORIGIN])]) {
      const fields = { ...cors.headersFor(asked(preflight)), ...cors.preflight(asked(preflight, 'OPTIONS')) };
      expect(fields).not.toHaveProperty('Access-Control-Allow-Credentials');
    }
  });
});

describe('a preflight', () => {
  test.each([
    [asked(preflight, 'GET')],
    [asked({ origin: ORIGIN }, 'OPTIONS')],
    [asked({ 'access-control-request-method': 'GET' }, 'OPTIONS')],
    [asked({ ...preflight, origin: 'https://evil.example' }, 'OPTIONS')],
  ])('is none: %j', (request) => {
    expect(new Cors([ORIGIN]).preflight(request)).toBeUndefined();
  });
});
