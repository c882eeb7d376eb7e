import { describe, expect, test } from '@jest/globals';
import { isRefused, toDatasetError } from '../../../../src/connector/datasets/file-errors.ts';

const systemError = (code: string): Error => Object.assign(new Error(code), { code });

describe('what a system error means to the one who asked', () => {
  test.each([
    ['ENOENT', 'dataset_not_found', false],
    ['ENOTDIR', 'dataset_not_found', false],
    ['ELOOP', 'dataset_not_found', false],
    ['EINVAL', 'dataset_not_found', false],
    // Sharing violations and locks of Windows, and missing rights there and elsewhere.
    ['EBUSY', 'dataset_unreadable', true],
    ['EPERM', 'dataset_unreadable', true],
    ['EACCES', 'dataset_unreadable', true],
    // The disk, the share, and what libuv has no word for.
    ['EIO', 'dataset_unreadable', false],
    ['ESTALE', 'dataset_unreadable', false],
    ['UNKNOWN', 'dataset_unreadable', false],
    ['EMFILE', 'overloaded', false],
  ])('%s: %s', (code, expected, refused) => {
    const error = systemError(code);
    expect(toDatasetError('a.csv', error)).toMatchObject({ code: expected });
    expect(isRefused(error)).toBe(refused);
  });

  test('a file that another program keeps to itself is told in words', () => {
    expect(toDatasetError('a.csv', systemError('EBUSY')).message).toMatch(/"a\.csv".*another program.*EBUSY/);
  });

  test('a defect is none of these', () => {
    expect(() => toDatasetError('a.csv', new TypeError('x'))).toThrow(TypeError);
  });
});
