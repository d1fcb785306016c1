import { setTimeout as delay } from 'node:timers/promises';
import { identityOf, isOver, isThere, type ProcessIdentity, statOf } from '../../shared/process-identity.js';
import { pipeHolders } from '../pipe-holders.js';
import type { ProgramRecord } from './records.js';

const searchTime = 2_000;
const pollInterval = 50;
/** Milliseconds that the system may take to end what was killed: it may be inside a system call. */
const deathPatience = 5_000;

/** Processes of a program whose watcher is gone. */
interface Survivors {
  /** Of its session: they are its own, and are ended. */
  readonly own: readonly number[];
  /** They moved to another session, but hold its output. */
  readonly strangers: readonly number[];
}

const isAlive = (process: ProcessIdentity | undefined): process is ProcessIdentity =>
  process !== undefined && isThere(process) === 'yes';

/**
 * Its first process is known by its id and start time; the others by the pipes that they hold: their session alone would
 * not do, since its number may be another's by now.
 */
const findSurvivors = async ({ pipes, process }: ProgramRecord): Promise<Survivors> => {
  const sessions = new Map<number, number>();
  for (const pid of await pipeHolders(pipes, process?.pid ?? 0, searchTime)) {
    const stat = statOf(pid);
    // Otherwise it has ended since it was found.
    if (stat !== undefined && !isOver(stat)) sessions.set(pid, stat.session);
  }
  const holders = [...sessions];
  const isOwn = (session: number): boolean => session === process?.pid;
  const leader = isAlive(process) ? [process.pid] : [];
  const own = holders.filter(([, session]) => isOwn(session)).map(([pid]) => pid);
  return {
    own: [...new Set([...leader, ...own])],
    strangers: holders.filter(([, session]) => !isOwn(session)).map(([pid]) => pid),
  };
};

const send = (target: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(target, signal);
  } catch {
    // It has ended meanwhile, or is nobody's to end: what is left is said in the end.
  }
};

/** To the whole group while its leader lives, whose number is then certainly its own; else to each by itself. */
const signalAll = (program: ProgramRecord, own: readonly number[], signal: NodeJS.Signals): void => {
  if (isAlive(program.process)) send(-program.process.pid, signal);
  for (const pid of own) if (pid !== program.process?.pid) send(pid, signal);
};

/**
 * A watcher that was killed just after the start may not have noted the first process: it is the one that holds the pipes
 * and leads a session, the oldest of several. It is looked for once: it may be gone before its children.
 */
const identified = async (program: ProgramRecord): Promise<ProgramRecord> => {
  if (program.process !== undefined) return program;
  const holders = await pipeHolders(program.pipes, 0, searchTime);
  const [first] = holders
    .filter((pid) => pid > 1 && statOf(pid)?.session === pid)
    .map(identityOf)
    .sort((one, other) => Number(one.started) - Number(other.started));
  return { ...program, process: first };
};

/** Sends a signal and waits for at most so many milliseconds until nothing of its own is left; what there is then. */
const endWith = async (
  program: ProgramRecord,
  found: Survivors,
  signal: NodeJS.Signals,
  patience: number,
): Promise<Survivors> => {
  signalAll(program, found.own, signal);
  const deadline = performance.now() + patience;
  let left = found;
  do {
    await delay(pollInterval);
    left = await findSurvivors(program);
  } while (left.own.length > 0 && performance.now() < deadline);
  return left;
};

/** Ends what can be identified of a program: SIGTERM, `killAfter` milliseconds later SIGKILL. What is left is one line. */
export const endSurvivors = async (noted: ProgramRecord | undefined, killAfter: number): Promise<string> => {
  if (noted === undefined) return 'whether the program was started, and still runs, is not known';
  const program = await identified(noted);
  let found = await findSurvivors(program);
  if (found.own.length === 0 && found.strangers.length === 0)
    return 'nothing of the program is left that can be identified';
  found = await endWith(program, found, 'SIGTERM', killAfter);
  if (found.own.length > 0) found = await endWith(program, found, 'SIGKILL', deathPatience);
  const left = [...found.own, ...found.strangers];
  return left.length === 0
    ? 'the program was ended'
    : `still running: process ${left.slice(0, 20).join(', ')}`;
};
