import { ok } from 'neverthrow';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { isActionPath } from '../../../domain/runs/action.js';
import type { JobKey } from '../../../ports/jobs.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { type Ask, notRun } from './ask.js';
import { followJob } from './jobs.js';
import { accepted, begin, busy, repeated, unrecorded } from './once.js';
import { notExecuted } from './outcome.js';
import { programOf } from './program.js';
import { liveKey, type Place, type Runs } from './runs.js';
import { scriptPath } from './scripts.js';

/**
 * Begins a run that outlives the agent (wire-protocol 1.2): 202 when it is recorded durably and watched over. Of one script one
 * such run goes on at a time; a request id that was refused for that may be asked for again.
 */
export async function submit(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  runs: Runs,
  ask: Ask,
  place: Place,
): Promise<HttpAnswer> {
  const script = ask.script.name;
  const key = { owner: caller.id, reqid: ask.reqid ?? '' };
  const name = liveKey(key.owner, key.reqid);
  const isBusy = () => {
    const reason = `${script} is still running`;
    const { address: ip, id: dispatcher } = caller;
    context.events.emit({
      action: 'run-refused',
      level: 'warning',
      fields: { script, reqid: key.reqid, dispatcher, ip, reason },
    });
    return busy(script, key.reqid);
  };
  const before = await runs.jobs.find(key);
  if (before.isErr()) return unrecorded(context, ask, before.error.message);
  const recorded = before.value || caller.unsigned ? ok(undefined) : await runs.store.find(key);
  if (recorded.isErr()) return unrecorded(context, ask, recorded.error.message);
  const known = before.value ?? recorded.value;
  if (known !== undefined) return repeated(context, caller, ask, known);
  // From here until it is marked as being started nothing is waited for.
  const other = runs.starting.get(script);
  if (other === name) return jsonAnswer(409, { status: 'running', reqid: key.reqid });
  if (other !== undefined) return isBusy();
  runs.starting.set(script, name);
  try {
    const running = await runs.jobs.running();
    if (running.isErr()) return unrecorded(context, ask, running.error.message);
    const same = running.value.find((job) => job.script === script);
    if (same && liveKey(same.owner, same.reqid) !== name) return isBusy();
    return await start(context, state, caller, runs, ask, key, place);
  } finally {
    runs.starting.delete(script);
  }
}

async function start(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  runs: Runs,
  ask: Ask,
  key: JobKey,
  place: Place,
): Promise<HttpAnswer> {
  const { clock, events } = context;
  const { owner, reqid } = key;
  const script = ask.script.name;
  const begun = await begin(context, caller, runs, ask);
  if ('status' in begun) return begun;
  const ended = async (answer: HttpAnswer): Promise<HttpAnswer> => {
    begun.ended();
    await begun.end(answer.body);
    return answer;
  };
  const path = await scriptPath(context, state.settings, ask.script.path);
  if (path.isErr()) return ended(jsonAnswer(200, { script, reqid, ...notExecuted(path.error.message) }));
  const header = { owner, reqid, script, startedAt: clock.now() };
  const program = { ...programOf(context, state, caller, ask), path: path.value };
  const started = await runs.jobs.start({ ...header, program });
  if (started.isErr()) {
    events.emit({ action: 'internal-error', level: 'error', fields: { reason: started.error.message } });
    return ended(notRun({ script, reqid, error: `it was not begun: ${started.error.message}` }));
  }
  switch (started.value.kind) {
    case 'known':
      await ended(accepted(script, reqid));
      return repeated(context, caller, ask, started.value.job);
    case 'busy':
      return ended(busy(script, reqid));
    case 'full':
      await ended(notRun({ script, reqid, error: 'too many async runs are kept' }));
      return jsonAnswer(503, { error: 'busy: too many async runs are kept' }, [['retry-after', '60']]);
    case 'accepted': {
      events.emit({
        action: 'run-accepted',
        fields: { script, reqid, dispatcher: owner, ip: caller.address, username: ask.username || undefined },
      });
      const followed = followJob(context, runs, header);
      place.holdUntil(followed);
      // It ends with the agent, which lets it finish first.
      if (isActionPath(program.path)) runs.track(followed);
      // Told to end while it was being started: a job that is there can be told.
      if (begun.cancelled?.aborted) await cancelStarted(context, runs, key);
      return ended(accepted(script, reqid));
    }
  }
}

async function cancelStarted({ events }: AgentContext, { jobs }: Runs, key: JobKey): Promise<void> {
  const cancelled = await jobs.cancel(key);
  if (cancelled.isErr())
    events.emit({ action: 'internal-error', level: 'error', fields: { reason: cancelled.error.message } });
}
