import { describe, expect, test } from '@jest/globals';
import { assert, constantFrom, nat, property, string } from 'fast-check';
import type { Kind, OptionDescriptor } from '../../../src/config/descriptor.ts';
import { parseValue, type Source } from '../../../src/config/values.ts';
import { RelayError } from '../../../src/protocol/errors.ts';

const FLAG: Source = { from: 'flag' };

function option(kind: Kind, more: Partial<OptionDescriptor> = {}): OptionDescriptor {
  return { roles: ['router'], kind, group: 'Test', summary: 'A test', ...more };
}

function read(kind: Kind, text: string | string[], more: Partial<OptionDescriptor> = {}, source = FLAG): unknown {
  return parseValue('thing', option(kind, more), [text].flat(), source, '/srv');
}

function complaint(act: () => unknown): RelayError {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof RelayError) return thrown;
    throw thrown;
  }
  throw new Error('it was accepted');
}

function outcome(act: () => unknown): string {
  try {
    act();
    return 'a value';
  } catch (thrown) {
    return thrown instanceof RelayError ? thrown.code : String(thrown);
  }
}

describe('every kind reads what is meant', () => {
  test.each<[Kind, string | string[], unknown, Partial<OptionDescriptor>?]>([
    ['string', 'plant 7', 'plant 7'],
    ['integer', '8080', 8080],
    ['integer', '-3', -3, { min: -10 }],
    ['bytes', '4096', 4096],
    ['bytes', '0', 0],
    ['bytes', '10GiB', 10 * 2 ** 30],
    ['bytes', '1.5 kib', 1536],
    ['bytes', '2MB', 2_000_000],
    ['bytes', '1T', 2 ** 40],
    ['duration', '0', 0],
    ['duration', '250ms', 250],
    ['duration', '1.5s', 1500],
    ['duration', '10m', 600_000],
    ['duration', '24h', 86_400_000],
    ['duration', '1h30m', 5_400_000],
    ['duration', 'off', undefined, { canBeOff: true }],
    ['enum', 'sse', 'sse', { values: ['auto', 'sse'] }],
    ['boolean', 'true', true],
    ['boolean', 'Yes', true],
    ['boolean', '1', true],
    ['boolean', 'off', false],
    ['boolean', 'no', false],
    ['boolean', '0', false],
    ['url', 'https://relay.example/base', new URL('https://relay.example/base')],
    ['mac', 'CC28.AA01.0203', 'cc-28-aa-01-02-03'],
    ['path', 'data', '/srv/data'],
    ['path', '/data/../x', '/x'],
    ['list', ['a', 'b'], ['a', 'b']],
    ['origins', ['https://a.example', 'http://b.example:9000/'], ['https://a.example', 'http://b.example:9000']],
    ['ranges', ['10.0.0.0/8', '::1', 'fd00::/8'], ['10.0.0.0/8', '::1', 'fd00::/8']],
    ['proxy', 'none', 'none'],
    ['map', ['site=oslo', 'note=a=b c', 'empty='], { site: 'oslo', note: 'a=b c', empty: '' }],
  ])('%s %j', (...[kind, text, value, more]) => {
    expect(read(kind, text, more)).toEqual(value);
  });

  test('of what is not repeatable the last one counts', () => {
    expect(read('integer', ['1', '2'])).toBe(2);
  });

  test('sizes and times survive being written', () => {
    assert(
      property(nat(2 ** 40), nat(2 ** 31 - 1), (bytes, ms) => {
        expect(read('bytes', String(bytes))).toBe(bytes);
        expect(read('bytes', `${bytes}KiB`)).toBe(bytes * 1024);
        expect(read('duration', `${ms}ms`)).toBe(ms);
        expect(read('duration', `${Math.floor(ms / 1000)}s${ms % 1000}ms`)).toBe(ms);
      }),
    );
  });
});

describe('every kind refuses what is not', () => {
  test.each<[Kind, string, RegExp, Partial<OptionDescriptor>?]>([
    ['string', '', /is empty/],
    ['string', 'a\nb', /control character/],
    ['integer', 'abc', /whole number/],
    ['integer', '1.5', /whole number/],
    ['integer', '0x10', /whole number/],
    ['integer', '1e3', /whole number/],
    ['integer', '', /whole number/],
    ['integer', '99999999999999999999', /whole number/],
    ['integer', '65536', /more than 65535/, { max: 65_535 }],
    ['integer', '-1', /less than 0/],
    ['bytes', '10XB', /not a size/],
    ['bytes', '-1', /not a size/],
    ['bytes', 'GiB', /not a size/],
    ['bytes', '9999999TiB', /not a size/],
    ['bytes', '1B', /less than 1KiB/, { min: 1024 }],
    ['duration', '30', /not a time/],
    ['duration', '30 s', /not a time/],
    ['duration', '-1s', /not a time/],
    ['duration', '1w', /not a time/],
    ['duration', '', /not a time/],
    ['duration', 'off', /not a time/],
    ['duration', '1ms', /less than 1s/, { min: 1000 }],
    ['duration', '25d', /more than/],
    ['duration', '8d', /more than 7d/, { max: 7 * 86_400_000 }],
    ['enum', 'SSE', /none of auto, sse/, { values: ['auto', 'sse'] }],
    ['boolean', 'maybe', /neither true nor false/],
    ['boolean', '', /neither true nor false/],
    ['boolean', '__proto__', /neither true nor false/],
    ['url', 'relay.example', /http/],
    ['url', 'ftp://relay.example', /http/],
    ['url', 'http://user:pass@relay.example', /user name or password/],
    ['url', 'http://relay.example/?a=1', /query/],
    ['mac', 'cc-28-aa-01-02', /MAC address/],
    ['path', '', /is empty/],
    ['path', 'a\0b', /control character/],
    ['list', '', /is empty/],
    ['origins', 'https://a.example/path', /origin/],
    ['map', 'site', /KEY=VALUE/],
    ['map', '=x', /KEY=VALUE/],
    ['map', 'a b=x', /KEY=VALUE/],
  ])('%s %j', (...[kind, text, why, more]) => {
    const error = complaint(() => read(kind, text, more));
    expect(error.code).toBe('usage');
    expect(error.message).toMatch(why);
    expect(error.message).toContain('--thing');
    expect(error.message).toContain(JSON.stringify(text));
  });

  test('nothing else than a usage error comes of any text', () => {
    const kinds = [
      'string',
      'integer',
      'bytes',
      'duration',
      'boolean',
      'url',
      'mac',
      'path',
      'list',
      'origins',
      'map',
    ] as const;
    assert(
      property(constantFrom(...kinds), string({ unit: 'binary' }), (kind, text) => {
        expect(outcome(() => read(kind, text))).toMatch(/^(?:a value|usage)$/);
      }),
    );
  });

  test('names the variable, and the file that it stands in', () => {
    const environment: Source = { from: 'environment', variable: 'RELAY_THING' };
    expect(complaint(() => read('integer', 'x', {}, environment)).message).toContain('RELAY_THING in the environment');
    const file: Source = { from: 'file', variable: 'RELAY_THING', file: '/srv/.env' };
    expect(complaint(() => read('integer', 'x', {}, file)).message).toContain('RELAY_THING in /srv/.env');
  });

  test('keeps a secret to itself', () => {
    const error = complaint(() => read('integer', 'hunter2', { secret: true }));
    expect(error.message).not.toContain('hunter2');
  });

  test('a key like __proto__ is an ordinary one', () => {
    const labels = read('map', '__proto__=x') as Record<string, string>;
    expect(Object.entries(labels)).toEqual([['__proto__', 'x']]);
  });
});
