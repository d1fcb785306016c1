import { readFileSync, readlinkSync } from 'node:fs';
import { isOver, type ProcessStat, parseProcessStat } from '../../domain/runs/process-stat.js';

/** A process that is not taken for a later one with its id. Where there is no /proc all but `pid` is `0`. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly started: string;
  readonly boot: string;
  /** Of process ids: what another container runs cannot be seen from here. */
  readonly namespace: string;
}

export const statOf = (pid: number): ProcessStat | undefined => {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
};

const read = (what: () => string | undefined): string => {
  try {
    return what() ?? '0';
  } catch {
    return '0';
  }
};

let here: Pick<ProcessIdentity, 'boot' | 'namespace'> | undefined;

const thisMachine = () => {
  here ??= {
    boot: read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: read(() => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]),
  };
  return here;
};

/** Of a process that runs now. */
export const identityOf = (pid: number): ProcessIdentity => ({
  pid,
  started: statOf(pid)?.started ?? '0',
  ...thisMachine(),
});

let own: ProcessIdentity | undefined;

export const ownIdentity = (): ProcessIdentity => {
  own ??= identityOf(process.pid);
  return own;
};

export const sameProcess = (one: ProcessIdentity, other: ProcessIdentity): boolean =>
  one.pid === other.pid && one.started === other.started && one.boot === other.boot;

/** `rebooted`: it went down with the machine. `unknown`: it belongs to another namespace of process ids. */
export const stateOf = ({
  pid,
  started,
  boot,
  namespace,
}: ProcessIdentity): 'alive' | 'dead' | 'rebooted' | 'unknown' => {
  const machine = thisMachine();
  if (boot !== machine.boot) return 'rebooted';
  if (namespace !== machine.namespace) return 'unknown';
  const stat = statOf(pid);
  if (stat !== undefined && started !== '0')
    return !isOver(stat) && /* defence: process-has-its-start-time */ stat.started === started
      ? 'alive'
      : 'dead';
  try {
    process.kill(pid, 0);
    return 'alive';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH' ? 'dead' : 'alive';
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
