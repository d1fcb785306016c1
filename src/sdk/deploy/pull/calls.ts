import { laneOf } from '../../../domain/deploy/jobs.js';
import { pollBackoff } from '../../../domain/deploy/schedule.js';
import type { ControlPlaneError } from '../../../ports/control-plane.js';
import { doJob, refuseJob } from './job.js';
import { type JobBoard, maxRunning } from './job-board.js';
import type { PullSession } from './session.js';

/** Heartbeats and polls, and what came of them so far. */
export interface PullCalls {
  beat(): Promise<void>;
  /**
   * Puts the jobs that there are on the board. Its answer is the end of those that were not there before; undefined: it brought none.
   * Nothing is asked for while more jobs wait than are done at a time.
   */
  poll(): Promise<{ readonly done: Promise<unknown> } | undefined>;
  /** Heartbeats and polls that have failed in succession. */
  failures(): number;
  /** The agent was stopped or retired. */
  readonly over: AbortSignal;
  readonly retired: AbortSignal;
}

export function pullCalls(session: PullSession, board: JobBoard): PullCalls {
  const { api, context, events, settings, stop } = session;
  const { host, version } = context;
  const retirement = new AbortController();
  const over = AbortSignal.any([stop, retirement.signal]);
  const debug = settings.logLevel === 'debug';
  let failures = 0;

  const answered = () => {
    if (failures > 0) events.emit({ action: 'control-plane-back', fields: { failures } });
    failures = 0;
  };
  /** Whether the call counts as a failed one: neither the end of the agent nor its retirement does. */
  const counts = (source: 'heartbeat' | 'work_poll', error: ControlPlaneError): boolean => {
    if (error.code === 'aborted' || over.aborted) return false;
    if (error.code === 'refused' && error.why === 'retired') {
      const fields = { source, status: error.status, body: error.reason };
      events.emit({ action: 'agent-retired', level: 'error', fields });
      retirement.abort();
      return false;
    }
    failures += 1;
    return true;
  };

  return {
    over,
    retired: retirement.signal,
    failures: () => failures,
    async beat() {
      const address = await host.addressTowards(settings.server.host, settings.server.port);
      const about = { hostname: host.name, os: host.system, architecture: host.architecture };
      const sent = await api.heartbeat({ version, ...about, ip_address: address }, over);
      if (sent.isOk()) {
        answered();
        if (debug) events.emit({ action: 'heartbeat-sent', fields: { agent: settings.agentId } });
      } else if (counts('heartbeat', sent.error)) {
        const fields = { reason: sent.error.message, failures };
        events.emit({ action: 'heartbeat-failed', level: 'warning', fields });
      }
    },
    async poll() {
      // defence: pull-jobs-that-wait
      if (board.waiting() > maxRunning) return undefined;
      const polled = await api.work(over);
      if (polled.isErr()) {
        if (!counts('work_poll', polled.error)) return undefined;
        const fields = { reason: polled.error.message, failures, backoff: pollBackoff(failures) / 1000 };
        events.emit({ action: 'poll-failed', level: 'warning', fields });
        return undefined;
      }
      answered();
      const { jobs, left } = polled.value;
      if (debug) events.emit({ action: 'work-polled', fields: { jobs: jobs.length } });
      if (left > 0 && !session.once.has('jobs-left')) {
        session.once.add('jobs-left');
        events.emit({ action: 'jobs-left', level: 'warning', fields: { taken: jobs.length, left } });
      }
      const ends: Promise<void>[] = [];
      for (const entry of jobs)
        if (entry.kind === 'job') {
          const { job } = entry;
          const end = board.add(job.id, laneOf(job), () => doJob(session, job));
          if (end !== undefined) ends.push(end);
        } else void board.add(entry.id, undefined, () => refuseJob(session, entry));
      return ends.length === 0 ? undefined : { done: Promise.all(ends) };
    },
  };
}
