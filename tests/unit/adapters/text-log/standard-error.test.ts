import { fstatSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { goesToJournal } from '../../../../src/adapters/text-log/standard-error.js';

const descriptor = openSync('/dev/null', 'w');
const { dev, ino } = fstatSync(descriptor, { bigint: true });

describe('whether output goes to the journal', () => {
  it('it does where the descriptor is the stream that systemd names', () => {
    expect(goesToJournal(`${dev}:${ino}`, descriptor)).toBe(true);
  });

  it.each([
    ['another file of the device', `${dev}:${ino + 1n}`],
    ['the same number on another device', `${dev + 1n}:${ino}`],
    ['part of it', `${dev}`],
    ['nothing', ''],
    ['no variable', undefined],
  ])('it does not: %s', (_what, stream) => {
    expect(goesToJournal(stream, descriptor)).toBe(false);
  });

  it('a descriptor that is not open goes nowhere', () => {
    expect(goesToJournal(`${dev}:${ino}`, 9_999)).toBe(false);
  });
});
