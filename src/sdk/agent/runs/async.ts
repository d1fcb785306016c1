import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { concurrencyOf, isActionPath } from '../../../domain/runs/action.js';
import type { JobKey } from '../../../ports/jobs.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { type Ask, busy, notRun } from './ask.js';
import { followJob } from './jobs.js';
import { accepted, begin, repeated } from './once.js';
import { notExecuted } from './outcome.js';
import { programOf } from './program.js';
import type { Place, Runs } from './runs.js';
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
  const { clock, events } = context;
  const script = ask.script.name;
  const key = { owner: caller.id, reqid: ask.reqid ?? '' };
  const { owner, reqid } = key;
  const begun = await begin(context, state.settings, caller, runs, ask, place);
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
  const concurrency = concurrencyOf(context.actions.functions, script);
  const started = await runs.jobs.start({ ...header, program, concurrency });
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
      begun.submitted();
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
