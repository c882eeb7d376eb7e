import { describe, expect, test } from '@jest/globals';
import type { DatasetName } from '../../../src/protocol/dataset-name.ts';
import { datasetHeaders } from '../../../src/router/dataset-answer.ts';

const NAME = 'reports/page one.html' as DatasetName;
const dispositionOf = (type?: string): unknown => datasetHeaders(NAME, {}, type)['Content-Disposition'];

describe('an answer that carries a dataset', () => {
  test('is never a page of the router', () => {
    expect(datasetHeaders(NAME, {})).toMatchObject({
      'Content-Type': 'application/octet-stream',
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': 'sandbox',
      'Cross-Origin-Resource-Policy': 'same-origin',
    });
  });

  test.each([
    'text/html',
    'TEXT/HTML; charset=utf-8',
    'application/xhtml+xml',
    'image/svg+xml',
    'image/svg+xml;charset=utf-8',
    'text/xml',
    'application/xml',
    'application/rss+xml',
    'text/xsl',
    'image/a+b+xml',
    'multipart/x-mixed-replace; boundary=x',
    'text/plain;,text/html',
    'text/plain; x=",text/html"',
  ])('is saved and not shown where a browser would run it: %s', (type) => {
    expect(dispositionOf(type)).toBe(`attachment; filename="page one.html"; filename*=UTF-8''page%20one.html`);
  });

  test.each([undefined, 'text/csv', 'image/png', 'application/xml-dtd', 'text/html5', 'application/json'])(
    'is left to the browser otherwise: %s',
    (type) => {
      expect(dispositionOf(type)).toBeUndefined();
    },
  );
});
