import type { RunAsk, RunResult } from '../../../domain/protocol/run-messages.js';
import { concurrencyOf, isActionPath } from '../../../domain/runs/action.js';
import { type HookVerdict, judgeHook } from '../../../domain/runs/auth-hook.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { OutputSink } from '../../../ports/process-runner.js';
import { timestamp } from '../../core/timestamp.js';
import type { Call, Caller } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import { scriptPath } from '../state/scripts.js';
import type { AgentState } from '../state/state.js';
import { runnerOf } from './actions.js';
import {
  type Ask,
  type AskedRun,
  about,
  alreadyRunning,
  busy,
  notRun,
  programOf,
  type RunOutcome,
  readAsk,
  refusedRun,
} from './ask.js';
import { type BegunRun, begin, repeated } from './claim.js';
import { followJob } from './jobs.js';
import { cancelled, notExecuted, resultOf } from './outcome.js';
import { knownJob } from './records.js';
import type { Place, Runs } from './runs.js';

/*
 * A run at the agent (wire-protocol 1.2, 2.3, 2.5): a place → read and permitted → hook → claim → execute → end.
 */

/** Answers `POST /run`, as long as there are not too many under way. */
export async function answerRun(
  context: AgentContext,
  state: AgentState,
  runs: Runs,
  caller: Caller,
  asked: RunAsk,
  call: Call,
): Promise<RunOutcome> {
  const place = takePlace(state, runs, caller);
  if ('reason' in place) {
    logRefusal(context, caller, { reason: place.reason });
    return { refused: 'busy', error: `busy: ${place.said}`, retryAfter: 5 };
  }
  try {
    const read = readAsk(state, asked, call);
    if (read.isErr()) {
      const { script, reqid, error } = read.error;
      logRefusal(context, caller, { ...(typeof script === 'string' && { script }), reqid, reason: error });
      return notRun(read.error);
    }
    const run = { context, state, runs, caller, ask: read.value, place };
    const verdict = await authoriseRun(context, state.settings, caller, {
      ...read.value,
      script: read.value.script.name,
    });
    if (!verdict.allowed) {
      const reason = `not authorised: ${verdict.reason}`;
      logRefusal(context, caller, { ...about(run), reason });
      return refusedRun(run, reason);
    }
    const begun = await begin(run);
    if (begun.isErr()) return begun.error;
    return read.value.mode === 'async'
      ? await submit(run, begun.value)
      : await execute(run, begun.value, call);
  } finally {
    place.leave();
  }
}

const logRefusal = (
  { events }: AgentContext,
  caller: Caller,
  {
    script,
    reqid,
    reason,
  }: { readonly script?: string; readonly reqid?: string | undefined; readonly reason: string },
) =>
  events.emit({
    action: 'run-refused',
    level: 'warning',
    fields: { script, reqid, dispatcher: caller.id, ip: caller.address, reason },
  });

/** A place among the runs that may be under way; or why there is none, in the words of the log and of the answer. */
function takePlace(
  { settings, trust }: AgentState,
  runs: Runs,
  { id }: Caller,
): Place | { readonly reason: string; readonly said: string } {
  const limit = settings.maxRuns;
  // Where several dispatchers are trusted, the last quarter of the places is none that one of them can have taken from the others.
  const several = new Set(trust.values()).size > 1;
  const most = several ? /* defence: places-are-shared */ limit - Math.floor(limit / 4) : limit;
  if (runs.closing) return { reason: 'the agent is being stopped', said: 'the agent is being stopped' };
  const place = runs.take(id, most, limit);
  if (place) return place;
  return runs.taken() >= limit
    ? { reason: `${limit} runs at a time`, said: `${limit} runs are under way` }
    : {
        reason: `${most} runs of one dispatcher at a time`,
        said: `${most} runs of this dispatcher are under way`,
      };
}

/** What the hook says of a run. */
export const authoriseRun = (
  { clock, hook }: AgentContext,
  settings: AgentSettings,
  { id, serial, address }: Caller,
  { script, args, username, token }: Pick<Ask, 'args' | 'username' | 'token'> & { readonly script: string },
): Promise<HookVerdict> =>
  hook(settings)
    .ask({
      action: 'run',
      hosts: [],
      sourceIp: address,
      timestamp: timestamp(clock.now()),
      dispatcher: { id, serial },
      script,
      args,
      username,
      token,
    })
    .map((outcome) => judgeHook(outcome, 'allow'))
    .unwrapOr({ allowed: false, reason: 'hook failed', code: undefined });

/** Runs the script to its end, and records it. */
async function execute(run: AskedRun, begun: BegunRun, call: Call): Promise<RunOutcome> {
  const { context, place, runs } = run;
  const unfollowed = () =>
    context.events.emit({ action: 'run-unfollowed', level: 'warning', fields: about(run) });
  const sink = run.ask.mode === 'stream' ? call.stream.map((open) => open(unfollowed)) : undefined;
  const running = runToEnd(run, begun, sink?.unwrapOr(undefined));
  place.holdUntil(running.then(({ goesOn }) => goesOn));
  runs.track(running);
  const { result } = await running;
  const { script, reqid } = about(run);
  return { outcome: 'ended', script, reqid, result };
}

interface Executed {
  readonly result: RunResult;
  /** Settled when what was answered for without its end has ended. */
  readonly goesOn: Promise<void> | undefined;
}

async function runToEnd(run: AskedRun, begun: BegunRun, onOutput: OutputSink | undefined): Promise<Executed> {
  const { ask, context, runs, state } = run;
  const { clock, events } = context;
  const started = clock.monotonic();
  events.emit({ action: 'run-start', fields: { ...about(run), username: ask.username || undefined } });
  const stopping = runs.stopping.signal;
  const { signal, release } = endOf(runs, begun.cancelled);
  const outcome = await scriptPath(context, state.settings, ask.script.path).andThen((path) =>
    runnerOf(context, path).run({ ...programOf(run), path, signal, ...(onOutput && { onOutput }) }),
  );
  release();
  begun.ended();
  const isCancelled = begun.cancelled?.aborted === true;
  const result = outcome.match(
    (ended) => resultOf(ended, { timeout: ask.timeout, stopping: stopping.aborted && !isCancelled }),
    (error) => notExecuted(begun.cancelled?.aborted ? cancelled : error.message),
  );
  await begun.end(result);
  const { exit, error } = result;
  const ms = Math.round(clock.monotonic() - started);
  events.emit({
    action: 'run-end',
    level: exit === 0 ? 'info' : 'warning',
    fields: { ...about(run), exit, ms, error },
  });
  return { result, goesOn: outcome.isOk() ? outcome.value.goesOn : undefined };
}

/** Aborted when the run is cancelled, or the agent ends it. Nothing of it is left at what lives as long as the agent. */
function endOf(runs: Runs, cancelled: AbortSignal | undefined) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const release = runs.onStopping(abort);
  cancelled?.addEventListener('abort', abort);
  if (cancelled?.aborted) abort();
  return { signal: controller.signal, release };
}

/**
 * Hands a run over to what outlives the agent: `accepted` when it is recorded durably and watched over. Of one script one such
 * run goes on at a time.
 */
async function submit(run: AskedRun, begun: BegunRun): Promise<RunOutcome> {
  const { ask, caller, context, place, runs, state } = run;
  const { clock, events } = context;
  const [script, reqid, owner] = [ask.script.name, ask.reqid ?? '', caller.id];
  /** @param result undefined: it is kept among the jobs */
  const ended = async (answer: RunOutcome, result?: RunResult): Promise<RunOutcome> => {
    begun.ended();
    await begun.end(result);
    return answer;
  };
  const notBegun = (answer: RunOutcome, error: string) =>
    ended(answer, { exit: -1, error, stdout: '', stderr: '' });
  const path = await scriptPath(context, state.settings, ask.script.path);
  if (path.isErr()) {
    const result = notExecuted(path.error.message);
    return ended({ outcome: 'ended', script, reqid, result }, result);
  }
  const header = { owner, reqid, script, startedAt: clock.now() };
  const program = { ...programOf(run), path: path.value };
  const concurrency = concurrencyOf(context.actions.functions, script);
  const started = await runs.jobs.start({ ...header, program, concurrency });
  const failed = (reason: string) =>
    events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  if (started.isErr()) {
    failed(started.error.message);
    const error = `it was not begun: ${started.error.message}`;
    return notBegun(refusedRun(run, error), error);
  }
  const accepted = { outcome: 'accepted', script, reqid } as const;
  switch (started.value.kind) {
    case 'known':
      await ended(accepted);
      return repeated(run, knownJob(started.value.job));
    case 'busy':
      return notBegun(busy(run), alreadyRunning);
    case 'full': {
      const reason = 'too many async runs are kept';
      return notBegun({ refused: 'busy', error: `busy: ${reason}`, retryAfter: 60 }, reason);
    }
    case 'accepted': {
      begun.submitted();
      const { reqid: _, script: __, ...who } = about(run);
      const fields = { script, reqid, ...who, username: ask.username || undefined };
      events.emit({ action: 'run-accepted', fields });
      const followed = followJob(context, runs, header);
      place.holdUntil(followed);
      // It ends with the agent, which lets it finish first.
      if (isActionPath(program.path)) runs.track(followed);
      // Told to end while it was being started: a job that is there can be told.
      if (begun.cancelled?.aborted) (await runs.jobs.cancel(header)).orTee(({ message }) => failed(message));
      return ended(accepted);
    }
  }
}
