import { parseJsonObject } from '../../../domain/core/json.js';
import { isReqid } from '../../../domain/core/names.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { AgentContext } from '../context.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { settle } from './once.js';
import { liveKey, type Runs } from './runs.js';

/** The request id of a body; or why there is none. */
export function reqidOf(body: Uint8Array): string | HttpAnswer {
  const parsed = parseJsonObject(body);
  const reqid = parsed.isOk() ? parsed.value['reqid'] : undefined;
  return typeof reqid === 'string' && isReqid(reqid)
    ? reqid
    : jsonAnswer(400, { error: 'reqid must be 1 to 64 letters, digits, "_" or "-"' });
}

export function unrecordedRead({ events }: AgentContext, reason: string): HttpAnswer {
  events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  return jsonAnswer(503, { error: 'busy: the record of runs cannot be read' }, [['retry-after', '60']]);
}

/** Answers `POST /v2/cancel` (wire-protocol 2.5): for runs of this dispatcher, whatever their kind. */
export async function answerCancel(
  context: AgentContext,
  caller: CallingDispatcher,
  runs: Runs,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const reqid = reqidOf(body);
  if (typeof reqid !== 'string') return reqid;
  const outcome = await cancel(context, runs, {
    owner: /* defence: cancel-is-for-its-owner */ caller.id,
    reqid,
  });
  if ('failed' in outcome) return unrecordedRead(context, outcome.failed);
  const { status } = outcome;
  context.events.emit({
    action: 'cancel-asked',
    level: 'warning',
    fields: { reqid, dispatcher: caller.id, ip: caller.address, status },
  });
  return jsonAnswer({ cancelling: 200, unknown: 404, done: 409 }[status], { status });
}

type Cancelled = { readonly status: 'cancelling' | 'unknown' | 'done' } | { readonly failed: string };

/**
 * What is under way in this process is told directly, also a job that is only being started; then the jobs are asked. What the
 * record of runs alone knows as running is being written there, and is ended as soon as it is begun. What is unknown is never begun.
 */
async function cancel(
  context: AgentContext,
  runs: Runs,
  key: { readonly owner: string; readonly reqid: string },
): Promise<Cancelled> {
  const { live, doomed, jobs } = runs;
  const name = liveKey(key.owner, key.reqid);
  const run = live.get(name);
  if (run && !run.ended) {
    run.cancel.abort();
    return { status: 'cancelling' };
  }
  const job = await jobs.cancel(key);
  if (job.isErr()) return { failed: job.error.message };
  if (job.value === 'cancelling') return { status: 'cancelling' };
  if (job.value === 'ended' || run) return { status: 'done' };
  const known = await settle(context, runs, key);
  if (known.isErr()) return { failed: known.error.message };
  if (known.value.kind !== 'known') return { status: 'unknown' };
  if (known.value.run.state !== 'running') return { status: 'done' };
  const since = live.get(name);
  if (since) since.cancel.abort();
  else doomed.add(name);
  return { status: 'cancelling' };
}
