import { describe, expect, it } from 'vitest';
import type { Random } from '../../src/ports/random.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** What holds for every `Random`. */
export function randomContract(name: string, open: () => Random): void {
  describe(`random: ${name}`, () => {
    it('gives exactly as many bytes as asked for, also none', () => {
      const random = open();
      for (const length of [0, 1, 2, 3, 4, 5, 15, 16, 17, 32, 1000, 100_000])
        expect(random.bytes(length)).toHaveLength(length);
    });

    it('gives a fresh array each time', () => {
      const random = open();
      const first = random.bytes(16);
      const before = hex(first);
      random.bytes(16).fill(0);
      expect(hex(first)).toBe(before);
      expect(random.bytes(16).buffer).not.toBe(first.buffer);
    });

    it('never gives 16 bytes twice', () => {
      const random = open();
      const seen = new Set(Array.from({ length: 20_000 }, () => hex(random.bytes(16))));
      expect(seen.size).toBe(20_000);
    });

    it('uses every value of a byte at every position', () => {
      const random = open();
      const seen = Array.from({ length: 7 }, () => new Set<number>());
      for (let draw = 0; draw < 10_000; draw++)
        random.bytes(7).forEach((byte, position) => {
          seen[position]?.add(byte);
        });
      expect(seen.map(({ size }) => size)).toEqual(Array(7).fill(256));
    });
  });
}
