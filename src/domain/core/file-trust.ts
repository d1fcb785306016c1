import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from './errors.js';
import { printable } from './names.js';

/** A directory, a link or a file that was met on the way to a file, as the system describes it. */
export interface FileOnTheWay {
  /** Without links above it. */
  readonly path: string;
  readonly kind: 'directory' | 'link' | 'file' | 'other';
  readonly uid: number;
  /** Permission bits, those of setuid, setgid and sticky among them. */
  readonly mode: number;
}

/**
 * Why a file is not trusted. `always`: everybody can change it, so it is never accepted. `strict`: a group can, or an account
 * that is neither root nor the own one.
 */
export interface FileFault {
  readonly path: string;
  readonly severity: 'always' | 'strict';
  /** `/etc/x belongs to uid 1000, expected root`. */
  readonly reason: string;
  /** The command that heals it. */
  readonly heal: string;
  /** Its owner is right, and only its group can write it besides. */
  readonly groupOnly?: true;
}

/** What becomes of faults that are not `always`: `strict` refuses the file, `warn` takes it and says so. */
export type FileTrust = 'strict' | 'warn';

const bits = { sticky: 0o1000, group: 0o020, others: 0o002 } as const;

/**
 * Judges one step of a path. A link counts by its owner alone. A sticky directory of root may be writable: in it nobody
 * can rename the files of others.
 * @param owners user ids that may own it; the first one is named in the advice
 */
export function fileFault(
  { path, kind, uid, mode }: FileOnTheWay,
  owners: readonly number[],
): FileFault | undefined {
  const isForeign = !owners.includes(uid);
  const isShared = kind === 'link' || (kind === 'directory' && uid === 0 && (mode & bits.sticky) !== 0);
  const writers = isShared ? 0 : mode & (bits.group | bits.others);
  if (!isForeign && writers === 0) return undefined;
  const name = account(owners[0] ?? 0);
  const reasons = [
    ...(isForeign ? [`belongs to ${account(uid)}, expected ${name}`] : []),
    ...((writers & bits.others) !== 0 ? ['is writable by everybody'] : []),
    ...(writers === bits.group ? ['is writable by its group'] : []),
  ];
  const shown = quoted(path);
  const heals = [
    ...(isForeign ? [`chown ${kind === 'link' ? '-h ' : ''}${chownName(owners[0] ?? 0)} ${shown}`] : []),
    ...(writers === 0 ? [] : [`chmod go-w ${shown}`]),
  ];
  return {
    path,
    severity: (writers & bits.others) !== 0 ? 'always' : 'strict',
    reason: `${kind === 'directory' ? 'directory ' : kind === 'link' ? 'link ' : ''}${printable(path, 1024)} ${reasons.join(' and ')}`,
    heal: heals.join(' && '),
    ...(isForeign || writers !== bits.group ? {} : { groupOnly: true as const }),
  };
}

/** The fault that keeps a file from being used; undefined: it may be used, with a warning for each of the faults. */
export const refusing = (faults: readonly FileFault[], trust: FileTrust): FileFault | undefined =>
  faults.find(({ severity }) => severity === 'always') ?? (trust === 'strict' ? faults[0] : undefined);

/** One line: what is wrong, and what heals it. */
export const faultText = ({ reason, heal }: FileFault): string => `${reason}: ${heal}`;

/** What is said when `file_trust = warn` was written into a configuration. */
export const fileTrustWritten = (file: string): string =>
  `${file} now has the line file_trust = warn, because an older version made this home. Heal what the next warnings name, then remove the line`;

/** What was found on the way to a path. */
export interface JudgedPath {
  readonly path: string;
  readonly faults: readonly FileFault[];
}

/** Ok: warnings, one line a fault. Err: the first path that must not be used. */
export function believe(
  judged: readonly JudgedPath[],
  trust: FileTrust,
): Result<readonly string[], CtrlExecError<'file_failed'>> {
  for (const { path, faults } of judged) {
    const fault = refusing(faults, trust);
    if (fault === undefined) continue;
    const reason = faultText(fault);
    const message = `${fault.path === path ? '' : `${printable(path, 1024)} is `}not trusted: ${reason}`;
    return err(failure('file_failed', message, { path, operation: 'trust', reason }));
  }
  return ok([...new Set(judged.flatMap(({ faults }) => faults.map(faultText)))]);
}

const account = (uid: number) => (uid === 0 ? 'root' : `uid ${uid}`);
const chownName = (uid: number) => (uid === 0 ? 'root' : String(uid));

/** A path that can be pasted into a shell. */
const quoted = (path: string): string =>
  /^[\w@%+=:,./-]+$/.test(path) ? path : `'${printable(path, 1024).replaceAll("'", "'\\''")}'`;
