import { ok } from 'neverthrow';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { concurrencyOf } from '../../../domain/runs/action.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { AgentContext } from '../context.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { type Ask, busy, busySync, unrecorded } from './ask.js';
import { type ActiveRun, liveKey, type Place, type Runs } from './runs.js';

/**
 * Counts a run among those of its script, for as long as its place is held, or says why not: whoever asks, of one script no more
 * go on than `concurrencyOf` allows. What a legacy dispatcher asks for counts for others; it is itself refused with
 * `legacy_concurrency` off alone, or where it asks for an async run beside another one, as legacy agents do.
 * @param name by owner and request id; undefined: the run is not known by one
 */
export async function activate(
  context: AgentContext,
  settings: AgentSettings,
  caller: CallingDispatcher,
  runs: Runs,
  ask: Ask,
  place: Place,
  name: string | undefined,
): Promise<{ submitted(): void } | HttpAnswer> {
  await runs.adopted;
  const script = ask.script.name;
  const isAsync = ask.mode === 'async';
  const isTolerant = caller.unsigned && settings.legacyConcurrency;
  const ended = new Set<ActiveRun>();
  const others = () => runs.active(script).filter((run) => !ended.has(run));
  const itself = () => name !== undefined && others().some((run) => run.name === name);
  const isBusy = () => {
    const counted = isTolerant ? others().filter((run) => isAsync && run.isAsync) : others();
    return itself() || counted.length >= concurrencyOf(context.actions.functions, script);
  };
  if (isBusy()) {
    // A job may have ended without this agent having noticed yet.
    const jobs = others().filter(({ isJob }) => isJob);
    const running = jobs.length > 0 ? await runs.jobs.running() : ok([]);
    if (running.isErr()) return unrecorded(context, ask, running.error.message);
    const still = new Set(running.value.map(({ owner, reqid }) => liveKey(owner, reqid)));
    for (const job of jobs) if (!still.has(job.name ?? '')) ended.add(job);
  }
  // From here until it is counted nothing is waited for.
  if (itself()) return jsonAnswer(409, { status: 'running', reqid: ask.reqid });
  if (/* defence: one-run-of-a-script */ isBusy()) {
    const { address: ip, id: dispatcher } = caller;
    const reason = `${script} is still running`;
    context.events.emit({
      action: 'run-refused',
      level: 'warning',
      fields: { script, reqid: ask.reqid, dispatcher, ip, reason },
    });
    return isAsync ? busy(script, ask.reqid ?? '') : busySync(script, ask.reqid);
  }
  const run: ActiveRun = { name, isAsync, isJob: false };
  place.runs(script, run);
  return {
    submitted: () => {
      run.isJob = true;
    },
  };
}
