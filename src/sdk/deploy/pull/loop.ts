import {
  backoff,
  firstWait,
  fraction,
  fractionBytes,
  nextWait,
  pullIntervals,
} from '../../../domain/deploy/schedule.js';
import { wait } from '../../core/wait.js';
import { pullCalls } from './calls.js';
import { discover } from './discovery.js';
import { jobBoard } from './job-board.js';
import type { PullSession } from './session.js';

/** Jobs that run at a time. */
const maxRunning = 128;

/** How the work of a pull agent ended. */
export interface PullEnd {
  /** `once`: it was asked for one round only. */
  readonly reason: 'stopped' | 'retired' | 'once';
  /** Heartbeats and polls that had failed in succession at the end. */
  readonly failures: number;
}

/** Heartbeats, polls and scans until the agent is stopped or retired, or one of each; then what runs is finished. */
export async function pullLoop(session: PullSession, once: boolean): Promise<PullEnd> {
  const { clock, random } = session.context;
  const bug = (thrown: unknown) => {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    session.events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  };
  const board = jobBoard(maxRunning, bug);
  const calls = pullCalls(session, board);
  const { over, retired } = calls;
  const looksAround = session.settings.discoveryDirs.length > 0;

  const chance = () => fraction(random.bytes(fractionBytes));
  /** False when the agent is to end. */
  const pause = async (delay: number) => (await wait(clock, delay, over)).isOk();
  /** Does it, and gives the milliseconds that are left until it is due again. */
  const timed = async (interval: number, work: () => Promise<void>) => {
    const due = clock.monotonic() + nextWait(interval, chance());
    await work();
    return due - clock.monotonic();
  };

  const heartbeats = async () => {
    let delay = firstWait(pullIntervals.heartbeat, chance());
    while (await pause(delay)) delay = await timed(pullIntervals.heartbeat, calls.beat);
  };
  const polls = async (afterFirst: () => void) => {
    let delay = firstWait(pullIntervals.poll, chance());
    while ((await pause(delay)) && (await pause(backoff(calls.failures())))) {
      delay = await timed(pullIntervals.poll, calls.poll);
      afterFirst();
    }
    afterFirst();
  };
  const scans = async () => {
    while (!over.aborted) await pause(await timed(pullIntervals.discovery, () => discover(session, over)));
  };

  if (once) {
    await calls.beat();
    if (!over.aborted) await calls.poll();
    if (!over.aborted && looksAround) await discover(session, over);
  } else {
    let afterFirst: () => void = () => undefined;
    const polled = new Promise<void>((resolve) => {
      afterFirst = resolve;
    });
    // The first scan comes after the first poll, whose moment nobody can tell: a fleet that starts together does not report together.
    await Promise.all([heartbeats(), polls(afterFirst), looksAround ? polled.then(scans) : undefined]);
  }
  if (over.aborted) board.clear();
  await board.settled();
  const reason = retired.aborted ? 'retired' : session.stop.aborted ? 'stopped' : 'once';
  return { reason, failures: calls.failures() };
}
