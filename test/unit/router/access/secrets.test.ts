import { describe, expect, test } from '@jest/globals';
import { parseSecrets } from '../../../../src/router/access/secrets.ts';

const ONE = 'x'.repeat(32);
const TWO = 'y'.repeat(40);

describe('a file of secrets', () => {
  test('has one a line, and comments', () => {
    expect(parseSecrets(`# the new one\n${ONE}\r\n\n  ${TWO}  \n`, 'the file')).toEqual([ONE, TWO]);
  });

  test.each([
    ['', /holds no secret/],
    ['# only a comment\n\n', /holds no secret/],
    ['x'.repeat(31), /32 characters.*number 1 has 31/],
    [`${ONE}\nshort`, /number 2 has 5/],
  ])('is refused when it is %j, without showing any of it', (text, message) => {
    const parse = (): readonly string[] => parseSecrets(text, 'the file');
    expect(parse).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringMatching(message) }));
    expect(parse).not.toThrow(/xxx/);
  });
});
