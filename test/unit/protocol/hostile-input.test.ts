import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import * as z from 'zod';
import * as answers from '../../../src/protocol/answers.ts';
import * as app from '../../../src/protocol/app.ts';
import { parseCapabilities } from '../../../src/protocol/capabilities.ts';
import { decodeJson, decodeValue, unwrap } from '../../../src/protocol/codec.ts';
import { command, decodeIncoming, encodeCommand, signedRequest } from '../../../src/protocol/commands.ts';
import { type DatasetName, parseDatasetName } from '../../../src/protocol/dataset-name.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import { MAX_FRAME_BYTES } from '../../../src/protocol/limits.ts';
import { parseMac } from '../../../src/protocol/mac.ts';
import { isRequestId } from '../../../src/protocol/request-id.ts';
import { command as commands, requestId, result as results, wildText } from './arbitraries.ts';

const SCHEMAS: z.ZodType[] = [
  answers.result,
  answers.streamInit,
  answers.streamChunk,
  answers.streamComplete,
  answers.partsRequest,
  answers.partsGrant,
  answers.offloadProgress,
  answers.datasetInfo,
  app.datasetRequest,
  app.syncAnswer,
  app.offloadAnswer,
  app.digestAnswer,
  app.problem,
  app.requestStatus,
  app.connectorInfo,
  app.connectorList,
  app.datasetList,
  command,
  signedRequest,
];

const anything = fc.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});

/** A good value with one of its fields, or of theirs, replaced: nearer to what decoders look at than pure noise. */
const damaged = fc
  .tuple(fc.oneof(commands, results) as fc.Arbitrary<Record<string, unknown>>, fc.nat(), fc.jsonValue())
  .map(([value, at, replacement]) => {
    const names = Object.keys(value);
    return { ...value, [names[at % names.length] as string]: replacement };
  });

const bytesAsText = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const texts = fc.oneof(
  wildText,
  bytesAsText,
  fc.json(),
  damaged.map((value) => JSON.stringify(value)),
);

/** Both outcomes are fine; an exception, or an error that is none of relay's, is not. */
function expectDecoded(outcome: { ok: boolean; error?: unknown }): void {
  if (!outcome.ok) expect(outcome.error).toBeInstanceOf(RelayError);
}

describe('no input makes a decoder throw', () => {
  test('decodeValue', () => {
    fc.assert(
      fc.property(fc.constantFrom(...SCHEMAS), fc.oneof(anything, fc.jsonValue(), damaged), (schema, value) =>
        expectDecoded(decodeValue(schema, value)),
      ),
      { numRuns: 1000 },
    );
  });

  test('decodeValue, where a key is a symbol', () => {
    const value = { method: 'PUT', url: 'http://a/', headers: { [Symbol('s')]: 'x' } };
    expectDecoded(decodeValue(signedRequest, value));
  });

  test('decodeJson', () => {
    fc.assert(
      fc.property(fc.constantFrom(...SCHEMAS), texts, (schema, text) => expectDecoded(decodeJson(schema, text))),
      { numRuns: 1000 },
    );
  });

  test('decodeJson, nested deeper than any stack', () => {
    expectDecoded(decodeJson(answers.result, '['.repeat(1_000_000)));
    expectDecoded(decodeJson(answers.result, `{"request_id":"a","x":${'['.repeat(5000)}${']'.repeat(5000)}}`));
  });

  test('decodeIncoming', () => {
    fc.assert(
      fc.property(texts, (text) => expectDecoded(decodeIncoming(text))),
      { numRuns: 1000 },
    );
  });

  test('parseMac, parseDatasetName, parseCapabilities, isRequestId', () => {
    fc.assert(
      fc.property(texts, (text) => {
        for (const value of [parseMac(text), parseDatasetName(text)]) {
          if (value instanceof RelayError) expect(value.code).toBe('invalid_request');
          else expect(typeof value).toBe('string');
        }
        expect(parseCapabilities(text)).toBeInstanceOf(Set);
        expect(typeof isRequestId(text)).toBe('boolean');
      }),
      { numRuns: 1000 },
    );
    fc.assert(fc.property(anything, (value) => typeof isRequestId(value) === 'boolean'));
  });
});

describe('what cannot be decoded', () => {
  test('is invalid_request, and names the field', () => {
    const decoded = decodeJson(answers.streamInit, '{"request_id":"a","total_size":-1}');
    expect(decoded).toMatchObject({ ok: false, error: { code: 'invalid_request' } });
    expect(() => unwrap(decoded)).toThrow(/field total_size/);
  });

  test('is malformed JSON with its own words, and the code that the caller chose', () => {
    expect(decodeJson(answers.result, '{', 'connector_failed')).toMatchObject({
      ok: false,
      error: { code: 'connector_failed', message: expect.stringMatching(/malformed JSON/) },
    });
  });

  test('lists no more than a few of its faults', () => {
    const faults = decodeValue(z.object({ a: z.string(), b: z.string(), c: z.string(), d: z.string() }), {});
    expect(faults).toMatchObject({ error: { message: expect.not.stringContaining('field d') } });
  });
});

describe('a field', () => {
  const ID = '"request_id":"a"';
  test.each([
    ['a size beyond what a number holds exactly', answers.streamInit, `{${ID},"total_size":9007199254740993}`],
    ['a size that is no integer', answers.streamInit, `{${ID},"total_size":1.5}`],
    ['a weak entity tag', answers.streamInit, `{${ID},"etag":"W/\\"a\\""}`],
    ['an entity tag without quotes', answers.streamInit, `{${ID},"etag":"a"}`],
    ['an entity tag with a line break', answers.streamInit, `{${ID},"etag":"\\"a\\r\\nX: y\\""}`],
    ['a content type with a line break', answers.streamInit, `{${ID},"content_type":"text/csv\\r\\nX: y"}`],
    ['a time without a zone', answers.streamInit, `{${ID},"last_modified":"2026-01-01T00:00:00"}`],
    ['a digest of another kind', answers.streamComplete, `{${ID},"digest":"sha-512=:AAAA:"}`],
    ['a URL of another scheme', answers.result, `{${ID},"download_url":"file:///etc/passwd"}`],
    ['a URL with a line break', answers.result, `{${ID},"download_url":"http://a/\\r\\nX: y"}`],
    ['an encoding of another kind', answers.streamChunk, `{${ID},"data":"","encoding":"utf16"}`],
    ['a part number of 0', answers.partsRequest, `{${ID},"part_numbers":[0]}`],
    ['no part number', answers.partsRequest, `{${ID},"part_numbers":[]}`],
    ['more than 100 part numbers', answers.partsRequest, `{${ID},"part_numbers":[${'1,'.repeat(100)}1]}`],
    ['an id with other characters', answers.streamInit, '{"request_id":"../a"}'],
    ['an id of 129 characters', answers.streamInit, `{"request_id":"${'a'.repeat(129)}"}`],
    ['a dataset name that climbs', app.datasetRequest, '{"mac":"cc28aa010203","dataset":"../a"}'],
    ['a MAC that is none', app.datasetRequest, '{"mac":"cc28aa0102","dataset":"a"}'],
  ] as [string, z.ZodType, string][])('is refused: %s', (_what, schema, text) => {
    expect(decodeJson(schema, text)).toMatchObject({ ok: false, error: { code: 'invalid_request' } });
  });

  test('is accepted: a time with another offset and with microseconds, as Python writes it', () => {
    const text = `{${ID},"last_modified":"2026-01-01T00:00:00.123456+02:00"}`;
    expect(decodeJson(answers.streamInit, text).ok).toBe(true);
  });
});

describe('a message of a link', () => {
  test('with an unknown command is answered with not_supported under its id', () => {
    fc.assert(
      fc.property(requestId, fc.string(), fc.dictionary(fc.string(), fc.jsonValue()), (id, name, more) => {
        const text = JSON.stringify({ ...more, command: `x-${name}`, request_id: id });
        expect(decodeIncoming(text)).toMatchObject({
          ok: true,
          value: { kind: 'refused', requestId: id, error: { code: 'not_supported' } },
        });
      }),
    );
  });

  test.each([5, null, {}, undefined])('with %p for a command is answered too', (name) => {
    expect(decodeIncoming(JSON.stringify({ command: name, request_id: 'a' }))).toMatchObject({
      ok: true,
      value: { kind: 'refused', requestId: 'a', error: { code: 'not_supported' } },
    });
  });

  test('with a known command that does not fit is answered with what is wrong', () => {
    expect(decodeIncoming('{"command":"stat","request_id":"a","dataset_name":"/etc/passwd"}')).toMatchObject({
      ok: true,
      value: {
        kind: 'refused',
        requestId: 'a',
        error: { code: 'invalid_request', message: expect.stringMatching(/dataset_name/) },
      },
    });
  });

  test('is a command whatever its unknown field `event` holds', () => {
    expect(decodeIncoming('{"command":"cancel","request_id":"a","event":{"any":1}}')).toEqual({
      ok: true,
      value: { kind: 'command', command: { command: 'cancel', request_id: 'a' } },
    });
  });

  test('without an id fails', () => {
    expect(decodeIncoming('{"command":"stat"}').ok).toBe(false);
    expect(decodeIncoming('{"command":"unheard-of"}').ok).toBe(false);
    expect(decodeIncoming('[]').ok).toBe(false);
  });

  test('may be an event, known or not', () => {
    expect(decodeIncoming('{"event":"draining"}')).toEqual({ ok: true, value: { kind: 'event', event: 'draining' } });
    expect(decodeIncoming('{"event":"unheard-of","x":1}')).toMatchObject({ ok: true, value: { kind: 'event' } });
    expect(decodeIncoming(encodeCommand({ event: 'receiving', request_id: 'a' }))).toEqual({
      ok: true,
      value: { kind: 'event', event: 'receiving', requestId: 'a' },
    });
    expect(decodeIncoming('{"event":"unheard-of","request_id":{"not":"ours"}}')).toEqual({
      ok: true,
      value: { kind: 'event', event: 'unheard-of' },
    });
  });
});

describe('the ceiling of a frame', () => {
  const list = (cursor: string) => ({ command: 'list' as const, request_id: 'a', limit: 1, cursor });
  const overhead = Buffer.byteLength(JSON.stringify(list('')));

  test.each([
    ['one byte each', 'x', 1],
    ['three bytes each', '€', 3],
  ])('counts bytes in both directions (%s)', (_what, character, size) => {
    const room = Math.floor((MAX_FRAME_BYTES - overhead) / size);
    const fits = list(character.repeat(room));
    expect(decodeIncoming(encodeCommand(fits))).toMatchObject({ ok: true, value: { kind: 'command' } });
    const tooLong = list(character.repeat(room + 1));
    expect(() => encodeCommand(tooLong)).toThrow(expect.objectContaining({ code: 'internal' }));
    expect(decodeIncoming(JSON.stringify(tooLong))).toMatchObject({ ok: false, error: { code: 'invalid_request' } });
  });

  test('leaves room for the longest name that a dataset can have', () => {
    for (const unit of ['\u0001', '"', 'é', '漢', '😀']) {
      const name = unit.repeat(Math.floor(4095 / Buffer.byteLength(unit))) as DatasetName;
      expect(parseDatasetName(name)).toBe(name);
      const text = encodeCommand({ command: 'stat', request_id: 'a', dataset_name: name });
      expect(decodeIncoming(text)).toMatchObject({ value: { command: { dataset_name: name } } });
    }
  });
});
