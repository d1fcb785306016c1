import { errorMessage } from '../../../domain/core/thrown.js';
import {
  firstWait,
  fraction,
  fractionBytes,
  nextWait,
  pollBackoff,
  pullIntervals,
} from '../../../domain/deploy/schedule.js';
import { wait } from '../../core/wait.js';
import { pullCalls } from './calls.js';
import { discover } from './discovery.js';
import { jobBoard } from './job-board.js';
import type { PullSession } from './session.js';

/** Polls in a row that do not wait for their time, because the one before brought jobs. */
const maxQuickPolls = 10;

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
    session.events.emit({
      action: 'internal-error',
      level: 'error',
      fields: { reason: errorMessage(thrown) },
    });
  };
  const board = jobBoard(bug);
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
    let quick = 0;
    let delay = firstWait(pullIntervals.poll, chance());
    while ((await pause(delay)) && (await pause(pollBackoff(calls.failures())))) {
      const due = clock.monotonic() + nextWait(pullIntervals.poll, chance());
      const brought = await calls.poll();
      afterFirst();
      // The control plane makes the next job of a certificate while this one is done, and does not keep it for long.
      quick = brought !== undefined && quick < maxQuickPolls ? quick + 1 : 0;
      const isDone = quick > 0 && (await doneBefore(due - clock.monotonic(), brought?.done));
      delay = isDone ? 0 : due - clock.monotonic();
    }
    afterFirst();
  };
  /** Whether that ends before the time is up, and the agent goes on. */
  const doneBefore = async (delay: number, done: Promise<unknown> | undefined) => {
    const ended = new AbortController();
    void done?.then(() => ended.abort());
    await wait(clock, delay, AbortSignal.any([over, ended.signal]));
    return ended.signal.aborted;
  };
  const isOver = new Promise<void>((resolve) => {
    over.addEventListener('abort', () => resolve(), { once: true });
  });
  const pollsInARow = async () => {
    for (let polls = 0; polls <= maxQuickPolls && !over.aborted; polls += 1) {
      const brought = await calls.poll();
      if (brought === undefined) return;
      await Promise.race([brought.done, isOver]);
    }
  };
  const scans = async () => {
    while (!over.aborted) await pause(await timed(pullIntervals.discovery, () => discover(session, over)));
  };

  if (once) {
    await calls.beat();
    await pollsInARow();
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
