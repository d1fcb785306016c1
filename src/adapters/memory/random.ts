import type { Random } from '../../ports/random.js';

/** FNV-1a over UTF-16 code units. */
const hash = (text: string) => {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
};

/** An invertible mixing of 32 bits (the finalizer of MurmurHash3), so that different counters stay different. */
const mix = (input: number) => {
  let value = Math.imul(input ^ (input >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
};

/**
 * Bytes that look random and are the same for the same seed and the same calls, for tests only. Each block of four is
 * the mixed value of a counter, so no two results of 16 bytes are equal within 2^30 calls.
 */
export const countingRandom = (seed = ''): Random => {
  const start = hash(seed);
  let counter = 0;
  return {
    bytes: (length) => {
      const bytes = new Uint8Array(length);
      const view = new DataView(bytes.buffer);
      for (let offset = 0; offset < length; offset += 4) {
        const word = mix(start ^ counter++);
        if (length - offset >= 4) view.setUint32(offset, word);
        else
          for (let rest = offset; rest < length; rest++) view.setUint8(rest, word >>> (8 * (rest - offset)));
      }
      return bytes;
    },
  };
};
