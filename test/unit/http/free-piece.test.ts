import { expect, test } from '@jest/globals';
import { freePiece } from '../../../src/http/free-piece.ts';

test('gives the memory of a piece back', () => {
  const piece = Buffer.allocUnsafeSlow(1024);
  freePiece(piece);
  expect(piece.length).toBe(0);
});

test('leaves alone what is a part of something larger, and what is empty', () => {
  const whole = Buffer.allocUnsafeSlow(1024).fill(1);
  freePiece(whole.subarray(0, 1023));
  expect(whole.every((byte) => byte === 1)).toBe(true);
  expect(whole.length).toBe(1024);
  const empty = new Uint8Array(0);
  freePiece(empty);
  expect(() => new Uint8Array(1).set(empty)).not.toThrow();
});
