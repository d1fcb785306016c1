import { laneOf } from '../../../domain/deploy/jobs.js';
import { backoff } from '../../../domain/deploy/schedule.js';
import type { PullApiError } from './api.js';
import { doJob, refuseJob } from './job.js';
import type { JobBoard } from './job-board.js';
import type { PullSession } from './session.js';

/** Heartbeats and polls, and what came of them so far. */
export interface PullCalls {
  beat(): Promise<void>;
  /** Puts the jobs that there are on the board. */
  poll(): Promise<void>;
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
  const counts = (source: 'heartbeat' | 'work_poll', error: PullApiError): boolean => {
    if (error.code === 'aborted' || over.aborted) return false;
    if (error.code === 'refused' && error.status === 410) {
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
      const polled = await api.work(over);
      if (polled.isErr()) {
        if (!counts('work_poll', polled.error)) return;
        const fields = { reason: polled.error.message, failures, backoff: backoff(failures) / 1000 };
        events.emit({ action: 'poll-failed', level: 'warning', fields });
        return;
      }
      answered();
      if (debug) events.emit({ action: 'work-polled', fields: { jobs: polled.value.length } });
      for (const entry of polled.value)
        if (entry.kind === 'job') {
          const { job } = entry;
          board.add(job.id, laneOf(job), () => doJob(session, job));
        } else board.add(entry.id, undefined, () => refuseJob(session, entry));
    },
  };
}
