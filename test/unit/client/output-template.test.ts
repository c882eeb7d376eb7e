import { describe, expect, test } from '@jest/globals';
import { nameConnectors, readOutputTemplate } from '../../../src/client/output-template.ts';

const values = { mac: 'cc-28-aa-01-02-03', name: 'Press 3', path: '2026/a{mac}.csv' };

describe('where files go', () => {
  test.each([
    ['/lake/{name}/{path}', '/lake', 'Press 3/2026/a{mac}.csv'],
    ['/lake/{mac}', '/lake', 'cc-28-aa-01-02-03/2026/a{mac}.csv'],
    ['out/by-{name}/in/{path}', 'out', 'by-Press 3/in/2026/a{mac}.csv'],
    ['{mac}/', '.', 'cc-28-aa-01-02-03/2026/a{mac}.csv'],
    ['/{mac}', '/', 'cc-28-aa-01-02-03/2026/a{mac}.csv'],
  ])('%s', (text, directory, file) => {
    const template = readOutputTemplate(text);
    expect([template.directory, template.insert(values)]).toEqual([directory, file]);
  });

  test.each(['/lake', '/lake/{path}', '/lake/{label}/{mac}', '/lake/{mac}/../{path}'])('not by %s', (text) => {
    expect(() => readOutputTemplate(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

test('names of connectors are made safe, and the MAC address stands for what is none or not unique', () => {
  const named = [
    'Press 3',
    '..',
    '../../etc',
    'a/b',
    'CON',
    '',
    null,
    'twin',
    'TWIN',
    'CC:28:AA:01:02:01',
    '\u202e\n',
    '.ssh',
  ];
  const connectors = named.map((name, index) => ({ mac: `mac-${index}`, name }));
  expect([...nameConnectors(connectors).values()]).toEqual([
    'Press 3',
    'mac-1',
    '_._.._etc',
    'a_b',
    'mac-4',
    'mac-5',
    'mac-6',
    'mac-7',
    'mac-8',
    'CC_28_AA_01_02_01',
    'mac-10',
    '_ssh',
  ]);
});
