import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { printable } from '../../domain/core/names.js';

/** What the system says of a process and its user. */
export interface ProcessOwner {
  /** `/proc/self/loginuid`; undefined where there is none. */
  readonly loginUid: string | undefined;
  /** The real user id; undefined where the system has none. */
  readonly uid: number | undefined;
  /** `$SUDO_USER`. */
  readonly sudoUser: string | undefined;
  /** The name of a user id, or of the own user; undefined: it has none. */
  nameOf(uid: number | undefined): string | undefined;
}

/** What the kernel says of a process that nobody has logged in to. */
const unset = 2 ** 32 - 1;

/**
 * The operating-system user who began this process, as runs record it: `os:NAME`, or `os:uid:1234` for a user without a name.
 * It is the user who logged in, as the kernel knows it, whatever became of the process since; where the kernel knows nobody, the
 * user who called `sudo`, if the process is root's; else the user of the process.
 */
export function principalOf({ loginUid, uid, sudoUser, nameOf }: ProcessOwner): string {
  const named = (id: number | undefined) => {
    const name = nameOf(id);
    if (name) return `os:${printable(name)}`;
    return id === undefined ? 'os:unknown' : `os:uid:${id}`;
  };
  const login = /^\d{1,10}\n?$/.test(loginUid ?? '') ? Number(loginUid) : unset;
  if (login < unset) return named(login);
  // Whoever is not root can say anything in the environment. No name of a user has a colon.
  const believed = /* defence: sudo-user-is-of-root */ uid === 0 && sudoUser && !sudoUser.includes(':');
  return believed ? `os:${printable(sudoUser)}` : named(uid);
}

/** Whom this process belongs to, and what names users. */
const thisProcess = (): ProcessOwner => ({
  loginUid: loginUidOf('/proc/self/loginuid'),
  uid: process.getuid?.(),
  sudoUser: process.env['SUDO_USER'],
  nameOf: (uid) => (uid === process.getuid?.() ? ownName() : nameOfOther(uid)),
});

function loginUidOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function ownName(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined;
  }
}

/** Node.js names no user but its own. A directory that does not answer costs a second. */
function nameOfOther(uid: number | undefined): string | undefined {
  try {
    const options = { encoding: 'utf8', env: {}, stdio: 'pipe', timeout: 1000 } as const;
    return execFileSync('/usr/bin/getent', ['passwd', String(uid)], options).split(':', 1)[0];
  } catch {
    return undefined;
  }
}

/** Who began this process; see `principalOf`. */
export const osPrincipal = (): string => principalOf(thisProcess());
