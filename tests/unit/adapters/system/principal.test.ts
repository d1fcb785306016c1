import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { osPrincipal, type ProcessOwner, principalOf } from '../../../../src/adapters/system/principal.js';

const names = new Map([
  [0, 'root'],
  [1000, 'alice'],
  [1001, 'bob'],
]);
const owner = (changes: Partial<ProcessOwner>): ProcessOwner => ({
  loginUid: '4294967295',
  uid: 0,
  sudoUser: undefined,
  nameOf: (uid) => names.get(uid ?? -1),
  ...changes,
});

afterEach(() => vi.unstubAllEnvs());

describe('who began a process', () => {
  it.each<[string, Partial<ProcessOwner>, string]>([
    ['who logged in, after sudo', { loginUid: '1000', sudoUser: 'alice' }, 'os:alice'],
    ['who logged in, whatever SUDO_USER says', { loginUid: '1000', sudoUser: 'bob' }, 'os:alice'],
    ['who logged in, after becoming somebody else', { loginUid: '1000', uid: 1001 }, 'os:alice'],
    ['root, who logged in, whatever SUDO_USER says', { loginUid: '0', sudoUser: 'bob' }, 'os:root'],
    ['who logged in, with a line end', { loginUid: '1000\n' }, 'os:alice'],
    ['who called sudo, where nobody logged in', { sudoUser: 'alice' }, 'os:alice'],
    [
      'who called sudo, where the kernel does not know',
      { loginUid: undefined, sudoUser: 'alice' },
      'os:alice',
    ],
    [
      'who called sudo, where the kernel says something odd',
      { loginUid: '-1', sudoUser: 'alice' },
      'os:alice',
    ],
    ['who called sudo, where the number is none', { loginUid: '9999999999', sudoUser: 'alice' }, 'os:alice'],
    ['who called sudo, where it says nothing', { loginUid: '', sudoUser: 'alice' }, 'os:alice'],
    ['the user, without sudo', { uid: 1000 }, 'os:alice'],
    ['root, where SUDO_USER is empty', { sudoUser: '' }, 'os:root'],
    ['root, where SUDO_USER cannot be a name', { sudoUser: 'uid:1000' }, 'os:root'],
    ['the number, without a name', { uid: 4711 }, 'os:uid:4711'],
    ['the number of who logged in, without a name', { loginUid: '4711' }, 'os:uid:4711'],
    ['unknown, where the system has neither', { uid: undefined, loginUid: undefined }, 'os:unknown'],
  ])('is %s', (_, changes, expected) => {
    expect(principalOf(owner(changes))).toBe(expected);
  });

  it.each(['bob', 'root', 'alice'])('is not who says so without being root: SUDO_USER=%s', (sudoUser) => {
    expect(principalOf(owner({ uid: 1000, sudoUser }))).toBe('os:alice');
    expect(principalOf(owner({ uid: 4711, sudoUser }))).toBe('os:uid:4711');
    expect(principalOf(owner({ uid: undefined, sudoUser }))).toBe('os:unknown');
  });

  it('is one line of bounded length, whatever the name is', () => {
    for (const sudoUser of ['a\nroot', 'a\u001b[2Jb', '\u202eecila', 'x'.repeat(5000)]) {
      const recorded = principalOf(owner({ sudoUser }));
      expect(recorded).toMatch(/^os:[^\p{Cc}\p{Cf}]{1,120}$/u);
      expect(principalOf(owner({ uid: 7, nameOf: () => sudoUser }))).toBe(recorded);
    }
  });

  const logged = () => {
    try {
      return readFileSync('/proc/self/loginuid', 'utf8');
    } catch {
      return '4294967295';
    }
  };
  it('of this process is no claim of its environment but SUDO_USER of root', () => {
    vi.stubEnv('SUDO_USER', undefined);
    const before = osPrincipal();
    vi.stubEnv('USER', 'mallory');
    vi.stubEnv('LOGNAME', 'mallory');
    expect(osPrincipal()).toBe(before);
    vi.stubEnv('SUDO_USER', 'alice-of-sudo');
    const sudo = logged() === '4294967295' && process.getuid?.() === 0;
    expect(osPrincipal()).toBe(sudo ? 'os:alice-of-sudo' : before);
    if (logged() === '4294967295') expect(before).toBe(`os:${userInfo().username}`);
  });
});
