import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type * as z from 'zod';
import * as answers from '../../../src/protocol/answers.ts';
import * as app from '../../../src/protocol/app.ts';
import { decodeJson } from '../../../src/protocol/codec.ts';
import { decodeIncoming, encodeCommand } from '../../../src/protocol/commands.ts';
import * as arbitrary from './arbitraries.ts';

const MESSAGES: [string, z.ZodType, fc.Arbitrary<unknown>][] = [
  ['a result', answers.result, arbitrary.result],
  ['init', answers.streamInit, arbitrary.streamInit],
  ['a chunk', answers.streamChunk, arbitrary.streamChunk],
  ['complete', answers.streamComplete, arbitrary.streamComplete],
  ['a request for parts', answers.partsRequest, arbitrary.partsRequest],
  ['a grant of parts', answers.partsGrant, arbitrary.partsGrant],
  ['progress', answers.offloadProgress, arbitrary.offloadProgress],
  ['a dataset', answers.datasetInfo, arbitrary.datasetInfo],
  ['a request for a dataset', app.datasetRequest, arbitrary.datasetRequest],
  ['an answer of pattern A', app.syncAnswer, arbitrary.syncAnswer],
  ['an answer of pattern C', app.offloadAnswer, arbitrary.offloadAnswer],
  ['a digest', app.digestAnswer, arbitrary.digestAnswer],
  ['a problem', app.problem, arbitrary.problem],
  ['the status of a request', app.requestStatus, arbitrary.requestStatus],
  ['a connector', app.connectorInfo, arbitrary.connectorInfo],
];

const UNKNOWN = fc
  .dictionary(fc.string({ minLength: 1 }), fc.jsonValue(), { maxKeys: 4 })
  .map((fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [`x_${name}`, value])));

describe('a command', () => {
  test('is the same after it travelled', () => {
    fc.assert(
      fc.property(arbitrary.command, (command) => {
        expect(decodeIncoming(encodeCommand(command))).toEqual({ ok: true, value: { kind: 'command', command } });
      }),
    );
  });

  test('is one line, so that it fits an SSE data field', () => {
    fc.assert(fc.property(arbitrary.command, (command) => !/[\r\n]/.test(encodeCommand(command))));
  });

  test('may carry fields that nobody knows yet', () => {
    fc.assert(
      fc.property(arbitrary.command, UNKNOWN, (command, unknown) => {
        const text = JSON.stringify({ ...unknown, ...command });
        expect(decodeIncoming(text)).toEqual({ ok: true, value: { kind: 'command', command } });
      }),
    );
  });
});

describe.each(MESSAGES)('%s', (_name, schema, values) => {
  test('is the same after it travelled', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(decodeJson(schema, JSON.stringify(value))).toEqual({ ok: true, value });
      }),
    );
  });

  test('may carry fields that nobody knows yet, and they are dropped', () => {
    fc.assert(
      fc.property(values, UNKNOWN, (value, unknown) => {
        expect(decodeJson(schema, JSON.stringify({ ...unknown, ...(value as object) }))).toEqual({ ok: true, value });
      }),
    );
  });
});

describe('encoding', () => {
  test('is utf8 where a result or a chunk does not say', () => {
    expect(decodeJson(answers.result, '{"request_id":"a","data":"x"}')).toMatchObject({ value: { encoding: 'utf8' } });
    expect(decodeJson(answers.streamChunk, '{"request_id":"a","data":"x"}')).toMatchObject({
      value: { encoding: 'utf8' },
    });
  });
});
