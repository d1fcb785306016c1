import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import {
  endedWithMachine,
  identityOf,
  isThere,
  ownIdentity,
  readIdentity,
} from '../../../../src/adapters/shared/process-identity.js';

const otherBoot = '01234567-89ab-cdef-0123-456789abcdef';
const endedPid = async (): Promise<number> => {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'close');
  return child.pid ?? 0;
};

describe.skipIf(process.platform !== 'linux')('a process (needs /proc)', () => {
  it('that runs is there, and is read back as it was written', () => {
    expect(isThere(ownIdentity())).toBe('yes');
    expect(readIdentity(JSON.parse(JSON.stringify(ownIdentity())))).toEqual(identityOf(process.pid));
    expect(isThere({ ...ownIdentity(), boot: ownIdentity().boot.replaceAll('-', '') })).toBe('yes');
  });

  it('that ended, or whose id is the one of a younger process, is not there', async () => {
    expect(isThere({ ...ownIdentity(), pid: await endedPid() })).toBe('no');
    expect(isThere({ ...ownIdentity(), started: '1' })).toBe('no');
  });

  it('from before the machine was started ended with it', () => {
    const before = { ...ownIdentity(), boot: otherBoot };
    expect([isThere(before), endedWithMachine(before)]).toEqual(['no', true]);
  });

  it('whose boot is not known, or which another container runs, is unknown and did not end with the machine', async () => {
    const pid = await endedPid();
    for (const fields of [{ boot: '0' }, { namespace: '1' }, { boot: '0', pid }]) {
      const other = { ...ownIdentity(), ...fields };
      expect([isThere(other), endedWithMachine(other)]).toEqual(['unknown', false]);
    }
  });

  it.each([null, 1, {}, { ...ownIdentity(), pid: 0 }, { ...ownIdentity(), boot: 1 }])(
    'is not read from %j',
    (value) => expect(readIdentity(value)).toBeUndefined(),
  );
});
