import { describe, expect, it } from 'vitest';
import { countingRandom } from '../../src/adapters/memory/random.js';
import { systemRandom } from '../../src/adapters/node-crypto/random.js';
import { randomContract } from './random.contract.js';

randomContract('system', systemRandom);
randomContract('counting', () => countingRandom('seed'));

describe('counting random', () => {
  const draws = (seed?: string) => {
    const random = countingRandom(seed);
    return [random.bytes(16), random.bytes(5), random.bytes(32)];
  };

  it('repeats itself for the same seed', () => {
    expect(draws('a')).toEqual(draws('a'));
    expect(draws()).toEqual(draws());
  });

  it('differs between seeds', () => {
    expect(draws('a')).not.toEqual(draws('b'));
    expect(draws()).not.toEqual(draws('b'));
  });
});
