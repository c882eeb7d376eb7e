import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type DatasetName, encodeDatasetPath } from '../../../src/protocol/dataset-name.ts';
import { type Route, RouteTable } from '../../../src/router/routes/route.ts';
import { datasetName, wildText } from '../protocol/arbitraries.ts';

const route = (method: Route['method'], path: string): Route => ({ method, path, scope: 'app', handle() {} });

const LIST = route('GET', '/connectors');
const ONE = route('GET', '/connectors/{mac}');
const BEAT = route('POST', '/connectors/{mac}/heartbeat');
const DATASETS = route('GET', '/connectors/{mac}/datasets');
const DATASET = route('HEAD', '/connectors/{mac}/datasets/{path...}');
const STATUS = route('GET', '/requests/{id}');
const CANCEL = route('DELETE', '/requests/{id}');
const OPENAPI = route('GET', '/openapi.json');
const table = new RouteTable([LIST, ONE, BEAT, DATASETS, DATASET, STATUS, CANCEL, OPENAPI]);

describe('a route', () => {
  test.each([
    ['GET', '/connectors', LIST, {}],
    ['GET', '/connectors/cc-28', ONE, { mac: 'cc-28' }],
    ['GET', '/connectors/cc%3A28', ONE, { mac: 'cc:28' }],
    ['POST', '/connectors/cc-28/heartbeat', BEAT, { mac: 'cc-28' }],
    ['GET', '/connectors/cc-28/datasets', DATASETS, { mac: 'cc-28' }],
    ['HEAD', '/connectors/cc-28/datasets/a/b%20c.csv', DATASET, { mac: 'cc-28', path: 'a/b c.csv' }],
    ['HEAD', '/connectors/cc-28/datasets/a//b/', DATASET, { mac: 'cc-28', path: 'a//b/' }],
    // As rclone asks for it.
    ['HEAD', '/connectors/cc-28/datasets/./12:30.csv', DATASET, { mac: 'cc-28', path: '12:30.csv' }],
    ['HEAD', '/./connectors/cc-28/datasets/a/././.b/./c./d', DATASET, { mac: 'cc-28', path: 'a/.b/c./d' }],
    ['HEAD', '/connectors/cc-28/datasets/a/../b/.../c', DATASET, { mac: 'cc-28', path: 'a/../b/.../c' }],
    ['GET', '/requests/x', STATUS, { id: 'x' }],
    ['DELETE', '/requests/x', CANCEL, { id: 'x' }],
    ['GET', '/openapi.json', OPENAPI, {}],
  ])('is found: %s %s', (method, path, found, params) => {
    const match = table.find(method, path);
    expect(match).toEqual({ kind: 'route', route: found, params });
  });

  test.each([
    '/',
    '',
    '/connector',
    '/connectors/',
    '/connectors/a/b',
    '/CONNECTORS',
    '/requests/a/b',
    '/openapi-json',
    '//connectors',
  ])('is not found: %p', (path) => {
    expect(table.find('GET', path)).toEqual({ kind: 'none' });
  });

  test('answers HEAD where it answers GET, and has no HEAD of its own', () => {
    expect(table.find('HEAD', '/connectors')).toMatchObject({ kind: 'route', route: LIST });
    expect(table.find('GET', '/connectors/cc-28/datasets/a')).toMatchObject({
      kind: 'wrong_method',
      allow: 'HEAD, OPTIONS',
    });
  });

  test.each([
    ['PUT', '/requests/x', 'GET, DELETE, HEAD, OPTIONS'],
    ['POST', '/connectors', 'GET, HEAD, OPTIONS'],
    ['GET', '/connectors/a/heartbeat', 'POST, OPTIONS'],
    ['constructor', '/connectors', 'GET, HEAD, OPTIONS'],
  ])('says what it allows: %s %s', (method, path, allow) => {
    expect(table.find(method, path)).toEqual({ kind: 'wrong_method', allow });
  });

  test.each(['/connectors/%', '/connectors/%zz', '/connectors/%ff', '/connectors/%c3%28'])(
    'refuses a part that is not percent-encoded UTF-8: %s',
    (path) => {
      expect(() => table.find('GET', path)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
    },
  );

  test('gets every dataset name as it was', () => {
    fc.assert(
      fc.property(datasetName, (name: DatasetName) => {
        const match = table.find('HEAD', `/connectors/cc-28/datasets/${encodeDatasetPath(name)}`);
        expect(match).toMatchObject({ kind: 'route', params: { path: name } });
      }),
    );
  });

  test('is looked for without harm, whatever the path', () => {
    fc.assert(
      fc.property(fc.oneof(wildText, fc.webPath()), (text) => {
        try {
          expect(['route', 'none', 'wrong_method']).toContain(table.find('GET', `/connectors/${text}`).kind);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_request' });
        }
      }),
    );
  });
});
