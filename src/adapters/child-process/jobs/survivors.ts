import { setTimeout as delay } from 'node:timers/promises';
import { isOver } from '../../../domain/process-stat.js';
import { pipeHolders } from '../pipe-holders.js';
import { type ProcessIdentity, stateOf, statOf } from '../process-identity.js';
import type { ProgramRecord } from './records.js';

const searchTime = 2_000;
const pollInterval = 50;

/** Processes of a program whose watcher is gone. */
interface Survivors {
  /** Of its session: they are its own, and are ended. */
  readonly own: readonly number[];
  /** They moved to another session, but hold its output. */
  readonly strangers: readonly number[];
}

const isAlive = (process: ProcessIdentity | undefined): process is ProcessIdentity =>
  process !== undefined && stateOf(process) === 'alive';

/**
 * Its first process is known by its id and start time; the others by the pipes that they hold: their session alone would
 * not do, since its number may be another's by now. Before the first process was known, its session is that of whoever
 * holds the pipes and leads one.
 */
const findSurvivors = async ({ pipes, process }: ProgramRecord): Promise<Survivors> => {
  const sessions = new Map<number, number>();
  for (const pid of await pipeHolders(pipes, process?.pid ?? 0, searchTime)) {
    const stat = statOf(pid);
    // Otherwise it has ended since it was found.
    if (stat !== undefined && !isOver(stat)) sessions.set(pid, stat.session);
  }
  const holders = [...sessions];
  const isOwn = (session: number): boolean =>
    process === undefined ? session !== 0 && sessions.has(session) : session === process.pid;
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

/** Ends what can be identified of a program: SIGTERM, `killAfter` milliseconds later SIGKILL. What is left is one line. */
export const endSurvivors = async (
  program: ProgramRecord | undefined,
  killAfter: number,
): Promise<string> => {
  if (program === undefined) return 'whether the program was started, and still runs, is not known';
  let found = await findSurvivors(program);
  if (found.own.length === 0 && found.strangers.length === 0)
    return 'nothing of the program is left that can be identified';
  const begun = performance.now();
  let signal: NodeJS.Signals = 'SIGTERM';
  signalAll(program, found.own, signal);
  while (found.own.length > 0 && performance.now() - begun < 2 * killAfter) {
    await delay(pollInterval);
    if (signal === 'SIGTERM' && performance.now() - begun >= killAfter) {
      signal = 'SIGKILL';
      signalAll(program, found.own, signal);
    }
    found = await findSurvivors(program);
  }
  const left = [...found.own, ...found.strangers];
  return left.length === 0
    ? 'the program was ended'
    : `still running: process ${left.slice(0, 20).join(', ')}`;
};
