import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { isOver, type ProcessStat, parseProcessStat } from '../../domain/runs/process-stat.js';
import { codeOf } from './system-failure.js';

/**
 * File names that tell which process made them: `<pid>-<start time>-<boot id>-<pid namespace>-<random>`. A name whose
 * process is gone is provably a leftover. Where /proc is missing all but the pid and the random part are 0.
 */
const TOKEN = /^(\d+)-(\d+)-([0-9a-f]+)-(\d+)-[0-9a-f]{16}$/;

interface ProcessIdentity {
  readonly started: string;
  readonly boot: string;
  readonly namespace: string;
}

const WITHOUT_PROC: ProcessIdentity = { started: '0', boot: '0', namespace: '0' };

let own: ProcessIdentity | undefined;

function ownIdentity(): ProcessIdentity {
  own ??= readOwnIdentity();
  return own;
}

function readOwnIdentity(): ProcessIdentity {
  try {
    const started = parseProcessStat(readFileSync('/proc/self/stat', 'utf8'))?.started;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    return started === undefined || namespace === undefined ? WITHOUT_PROC : { started, boot, namespace };
  } catch {
    return WITHOUT_PROC;
  }
}

/** A new name for something that this process owns. */
export function ownerToken(): string {
  const { started, boot, namespace } = ownIdentity();
  return `${process.pid}-${started}-${boot}-${namespace}-${randomBytes(8).toString('hex')}`;
}

/**
 * Whether the process behind a token is gone: the machine was started anew since, or nobody has that pid, or somebody
 * younger has it. `unknown` when the token is of another pid namespace or is none. The directory is taken to be used
 * by one machine at a time.
 */
export async function ownerState(token: string): Promise<'alive' | 'dead' | 'unknown'> {
  const [, pid, started, boot, namespace] = TOKEN.exec(token) ?? [];
  if (pid === undefined) return 'unknown';
  const self = ownIdentity();
  if (boot !== self.boot) return boot === '0' || self.boot === '0' ? 'unknown' : 'dead';
  if (namespace !== self.namespace) return 'unknown';
  const stat = boot === '0' ? undefined : await readStat(pid);
  if (stat === undefined) return answersSignals(Number(pid)) ? 'alive' : 'dead';
  if (stat.started !== started) return 'dead';
  return isOver(stat) ? 'dead' : 'alive';
}

async function readStat(pid: string): Promise<ProcessStat | undefined> {
  try {
    return parseProcessStat(await readFile(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Also right where /proc hides the processes of others. */
function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return codeOf(thrown) !== 'ESRCH';
  }
}

/** Whether `path`, named by `token`, has no owner any more; where that cannot be known, its age decides. */
export async function isAbandoned(path: string, token: string, maxAgeMilliseconds: number): Promise<boolean> {
  const state = await ownerState(token);
  if (state !== 'unknown') return state === 'dead';
  try {
    return Date.now() - (await lstat(path)).mtimeMs > maxAgeMilliseconds;
  } catch {
    return false;
  }
}
