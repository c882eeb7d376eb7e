import { describe, expect, test } from '@jest/globals';
import { reportError } from '../../../src/cli/errors.ts';
import { RelayError } from '../../../src/protocol/errors.ts';
import { FakeIo } from './fake-io.ts';

function report(thrown: unknown, options?: Parameters<typeof reportError>[2]): { code: number; text: string } {
  const io = new FakeIo();
  const code = reportError(thrown, io.stderr, options);
  return { code, text: io.err };
}

describe('errors become words and an exit code', () => {
  test.each([
    [new RelayError('dataset_not_found', 'no such dataset'), 3, 'relay: no such dataset\n'],
    [new RelayError('connector_offline', 'offline'), 4, 'relay: offline\n'],
    [new RelayError('some_failed', 'two of nine failed'), 11, 'relay: two of nine failed\n'],
    [new RelayError('usage', 'wrong'), 2, 'relay: wrong\nTry `relay --help`.\n'],
  ])('%s', (error, code, text) => {
    expect(report(error)).toEqual({ code, text });
  });

  test('who may not use the proxy is not told of tokens', () => {
    const router = report(new RelayError('unauthorized', 'no'));
    expect(router).toEqual({ code: 6, text: expect.stringContaining('--token-file') });
    const proxy = report(new RelayError('unauthorized', 'no', { details: { proxy: 'http://proxy:3128' } }));
    expect(proxy).toEqual({ code: 6, text: expect.stringMatching(/^relay: no\n.*http:\/\/USER:PASSWORD@/) });
  });

  test('a defect says that it is one, and shows its stack only when asked', () => {
    const defect = new TypeError('x is not a function', { cause: new Error('deeper') });
    expect(report(defect)).toEqual({ code: 1, text: expect.stringMatching(/^relay: x is not a function\n.*defect/) });
    expect(report(defect).text).not.toContain('errors.test');
    const { text } = report(defect, { debug: true });
    expect(text).toContain('errors.test');
    expect(text).toContain('caused by Error: deeper');
  });

  test('an error of the system is no defect', () => {
    const error = Object.assign(new Error('listen EACCES: permission denied'), { code: 'EACCES', syscall: 'listen' });
    expect(report(error)).toEqual({ code: 1, text: 'relay: listen EACCES: permission denied\n' });
  });

  test('what is thrown need not be an error', () => {
    expect(report('boom').code).toBe(1);
    expect(report('boom').text).toMatch(/^relay: boom\n/);
  });

  test('no name writes to the terminal', () => {
    const { text } = report(new RelayError('dataset_not_found', 'no "a\u001b]0;pwned\u0007\u202etxt.csv"\rxy'));
    expect(text).toBe('relay: no "a\\x1b]0;pwned\\x07\\u{202e}txt.csv"\\x0dxy\n');
  });
});
