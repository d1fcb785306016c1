import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { closest, nearest } from '../../../../src/domain/core/closest.js';

describe('closest', () => {
  const known = ['port', 'bind', 'read_timeout', 'run_timeout', 'script_dirs'];

  it.each([
    ['raed_timeout', 'read_timeout'],
    ['runtimeout', 'run_timeout'],
    ['script_dir', 'script_dirs'],
    ['prot', 'port'],
  ])('%s is close to %s', (key, expected) => expect(closest(key, known)).toBe(expected));

  it.each(['', 'x', 'log_level', 'a'.repeat(100_000)])('unlike key %# is close to none', (key) =>
    expect(closest(key, known)).toBeUndefined(),
  );

  it('finds any known key again after one slip', () => {
    fc.assert(
      fc.property(fc.constantFrom('read_timeout', 'script_dirs'), fc.nat(20), (key, place) => {
        const at = place % key.length;
        expect(closest(key.slice(0, at) + key.slice(at + 1), known)).toBe(key);
        expect(closest(`${key.slice(0, at)}q${key.slice(at)}`, known)).toBe(key);
      }),
    );
  });
});

it('the nearest come first, and no more than are asked for', () => {
  const names = ['web-03', 'web-1', 'web-01', 'web-02', 'db-01'];
  expect(nearest('web-1', names, 3)).toEqual(['web-1', 'web-01']);
  expect(nearest('web-04', names, 3)).toEqual(['web-03', 'web-01', 'web-02']);
  expect(nearest('web-04', names, 1)).toEqual(['web-03']);
});
