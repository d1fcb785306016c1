import { readFileSync, readlinkSync } from 'node:fs';
import { errorCode } from '../../domain/core/thrown.js';

/** A process, told from a later one with its id. What this system does not tell is `0`. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since the machine was started. */
  readonly started: string;
  readonly boot: string;
  /** Of process ids: what another container runs cannot be seen from here. */
  readonly namespace: string;
}

/** What `/proc/<pid>/stat` tells (proc(5)). */
interface ProcessStat {
  /** One letter; `Z` and `X`: it has ended. */
  readonly state: string;
  readonly session: number;
  readonly threads: number;
  readonly started: string;
}

const unknown = '0';

/** Fields 3, 6, 20 and 22; the command name before them may hold spaces and parentheses. */
export const statOf = (pid: number): ProcessStat | undefined => {
  const text = told(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  const [state, session, threads, started] = [0, 3, 17, 19].map(
    (index) => text?.slice(text.lastIndexOf(')') + 2).split(' ')[index],
  );
  if (!state || started === undefined) return undefined;
  return { state, session: Number(session), threads: Number(threads), started };
};

/** Whether a process has ended and merely waits to be collected; its other threads may be inside a system call. */
export const isOver = ({ state, threads }: ProcessStat): boolean => 'ZX'.includes(state) && threads <= 1;

const told = (what: () => string | undefined): string | undefined => {
  try {
    return what();
  } catch {
    return undefined;
  }
};

/** What changes when the machine is started anew: Linux' boot id; undefined: cannot be known. */
export const bootId = (): string | undefined =>
  told(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());

let here: Pick<ProcessIdentity, 'boot' | 'namespace'> | undefined;

const thisMachine = () => {
  here ??= {
    boot: bootId() ?? unknown,
    namespace: told(() => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]) ?? unknown,
  };
  return here;
};

/** Of a process that runs now. */
export const identityOf = (pid: number): ProcessIdentity => ({
  pid,
  started: statOf(pid)?.started ?? unknown,
  ...thisMachine(),
});

let own: ProcessIdentity | undefined;

export const ownIdentity = (): ProcessIdentity => {
  own ??= identityOf(process.pid);
  return own;
};

export const sameProcess = (one: ProcessIdentity, other: ProcessIdentity): boolean =>
  one.pid === other.pid && one.started === other.started && one.boot === other.boot;

/** Whether a process certainly ended with the machine: both boot ids are known, and they differ. */
export const endedWithMachine = ({ boot }: Pick<ProcessIdentity, 'boot'>): boolean => {
  const now = thisMachine().boot;
  return boot !== unknown && now !== unknown && boot.replaceAll('-', '') !== now.replaceAll('-', '');
};

/**
 * Whether a process is still there. `unknown`: it belongs to another namespace of process ids, or one of the two boot ids is not
 * known. Whoever asks must not take `unknown` for `no`:
 *
 * - A lock is broken, and a job's watcher is taken to be gone, only after a minute without a sign of life.
 * - A temporary file is removed when it is older than a day.
 * - A job whose starter is unknown is given up by a record that also keeps its watcher from running it.
 * - What a deployment left is rolled back unless its process is there: only one pull agent uses the directory.
 */
export const isThere = (identity: ProcessIdentity): 'yes' | 'no' | 'unknown' => {
  const { pid, started, boot, namespace } = identity;
  const machine = thisMachine();
  if (endedWithMachine(identity)) return 'no';
  // Only one of them knows its boot id.
  if ((boot === unknown) !== (machine.boot === unknown)) return 'unknown';
  if (namespace !== machine.namespace) return 'unknown';
  const stat = statOf(pid);
  if (stat !== undefined && started !== unknown)
    return !isOver(stat) && /* defence: process-has-its-start-time */ stat.started === started ? 'yes' : 'no';
  return answersSignals(pid) ? 'yes' : 'no';
};

/** Also right where /proc hides the processes of others. */
const answersSignals = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== 'ESRCH';
  }
};

/** Reads what `JSON.stringify` made of one; undefined: it is none. */
export const readIdentity = (value: unknown): ProcessIdentity | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  const { pid, started, boot, namespace } = value as Record<string, unknown>;
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 1) return undefined;
  if (typeof started !== 'string' || typeof boot !== 'string' || typeof namespace !== 'string')
    return undefined;
  return { pid, started, boot, namespace };
};
