import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { AgentContext } from '../context.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { reqidOf, unrecordedRead } from './cancel.js';
import { rememberedFor, settle } from './once.js';
import { type RunRecord, recordOfJob, recordOfRun, shown } from './result.js';
import type { Runs } from './runs.js';

/**
 * Answers `POST /v2/settle` (wire-protocol 2.5): how a run of this dispatcher stands, as `/result` says it, and that an id which
 * nobody began is never run. The store of runs decides between this and a run that is just beginning.
 */
export async function answerSettle(
  context: AgentContext,
  settings: AgentSettings,
  caller: CallingDispatcher,
  runs: Runs,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const reqid = reqidOf(body);
  if (typeof reqid !== 'string') return reqid;
  const { clock, events } = context;
  const key = { owner: /* defence: settle-is-for-its-owner */ caller.id, reqid };
  const answer = (status: string, told: object): HttpAnswer => {
    const fields = { reqid, dispatcher: caller.id, ip: caller.address, status };
    events.emit({ action: 'settle-answered', fields });
    return jsonAnswer(200, told);
  };
  const unknown = { status: 'unknown', reqid };

  const oldest = clock.now() - settings.asyncTtl * 1000;
  const recorded = (record: RunRecord | undefined) =>
    // Undefined: it was begun, but its record is gone.
    record ? answer(record.status, shown(caller, reqid, record)) : answer('unknown', unknown);

  const before = await runs.jobs.find(key);
  if (before.isErr()) return unrecordedRead(context, before.error.message);
  if (before.value) return recorded(recordOfJob(before.value, oldest));
  const settled = await settle(context, runs, key);
  if (settled.isErr()) return unrecordedRead(context, settled.error.message);
  switch (settled.value.kind) {
    case 'full':
      return answer('unknown', unknown);
    case 'void': {
      const age = Math.min(settled.value.completeFor, rememberedFor);
      return answer('void', { status: 'void', complete_since: Math.ceil(clock.now() - age), reqid });
    }
    case 'known': {
      // It may have become a job since.
      const job = await runs.jobs.find(key);
      if (job.isErr()) return unrecordedRead(context, job.error.message);
      return recorded(job.value ? recordOfJob(job.value, oldest) : recordOfRun(settled.value.run));
    }
  }
}
