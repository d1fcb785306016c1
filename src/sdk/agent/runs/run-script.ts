import { fittedForLegacy } from '../../../domain/legacy/answer.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { type HookVerdict, judgeHook } from '../../../domain/runs/auth-hook.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { IncomingRequest } from '../../../ports/listener.js';
import type { OutputSink } from '../../../ports/process-runner.js';
import { timestamp } from '../../core/timestamp.js';
import type { Signer } from '../../protocol/message-signing.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { runnerOf } from './actions.js';
import { type Ask, notRun, readAsk } from './ask.js';
import { submit } from './async.js';
import { type BegunRun, begin } from './once.js';
import { cancelled, notExecuted, type RunResult, resultOf, totalsOf } from './outcome.js';
import { programOf } from './program.js';
import type { Place, Runs } from './runs.js';
import { scriptPath } from './scripts.js';
import { streamedRun } from './stream.js';

/** A `POST /run` whose caller is known, and who signs what is answered. */
export interface RunRequest {
  readonly caller: CallingDispatcher;
  readonly request: IncomingRequest;
  readonly body: Uint8Array;
  readonly signer: Signer | undefined;
}

/** Answers `POST /run`, as long as there are not too many under way. */
export async function answerRun(
  context: AgentContext,
  state: AgentState,
  runs: Runs,
  asked: RunRequest,
): Promise<HttpAnswer> {
  const { caller } = asked;
  const refuse = (reason: string, said: string) => {
    logRefusal(context, caller, undefined, undefined, reason);
    return jsonAnswer(503, { error: `busy: ${said}` }, [['retry-after', '5']]);
  };
  if (runs.closing) return refuse('the agent is being stopped', 'the agent is being stopped');
  const limit = state.settings.maxRuns;
  const most = shareOf(state, limit);
  const place = runs.take(caller.id, most, limit);
  if (!place && runs.taken() >= limit)
    return refuse(`${limit} runs at a time`, `${limit} runs are under way`);
  if (!place)
    return refuse(
      `${most} runs of one dispatcher at a time`,
      `${most} runs of this dispatcher are under way`,
    );
  try {
    return await runScript(context, state, runs, asked, place);
  } finally {
    place.leave();
  }
}

/** Where several dispatchers are trusted, the last quarter of the places is none that one of them can have taken from the others. */
function shareOf({ trust }: AgentState, limit: number): number {
  const several = new Set(trust.values()).size > 1;
  return several ? /* defence: places-are-shared */ limit - Math.floor(limit / 4) : limit;
}

/** Allowlist, hook, at most once, execution (wire-protocol 1.2, 2.3, 2.5). */
async function runScript(
  context: AgentContext,
  state: AgentState,
  runs: Runs,
  { caller, request, body, signer }: RunRequest,
  place: Place,
): Promise<HttpAnswer> {
  const read = readAsk(state, caller, request, body);
  if (read.isErr()) {
    const { script, reqid, error } = read.error;
    logRefusal(context, caller, typeof script === 'string' ? script : undefined, reqid, error);
    return notRun(read.error);
  }
  const ask = read.value;
  if (ask.mode === 'stream' && !signer)
    return notRun({
      script: ask.script.name,
      reqid: ask.reqid,
      error: 'the end of a stream cannot be signed',
    });
  const refusal = await askHook(context, state, caller, ask);
  if (refusal) return refusal;
  if (ask.mode === 'async') return submit(context, state, caller, runs, ask, place);
  const begun = await begin(context, state.settings, caller, runs, ask, place);
  if ('status' in begun) return begun;
  const run = (onOutput?: OutputSink) => {
    const running = execute(context, state, caller, runs, ask, begun, onOutput);
    place.holdUntil(running.then(({ goesOn }) => goesOn));
    runs.track(running);
    return running;
  };
  if (ask.mode !== 'stream' || !signer) return (await run()).answer;
  const { answer, sink, end, breakOff } = streamedRun(context, signer, request, () =>
    context.events.emit({
      action: 'run-unfollowed',
      level: 'warning',
      fields: { script: ask.script.name, reqid: ask.reqid, dispatcher: caller.id, ip: caller.address },
    }),
  );
  const streamed = run(sink).then(({ result, totals }) => end(result, totals));
  runs.track(
    streamed.catch((error: unknown) => {
      context.events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } });
      breakOff();
    }),
  );
  return answer;
}

async function askHook(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  { script, args, reqid, username, token }: Ask,
): Promise<HttpAnswer | undefined> {
  const question = { script: script.name, args, username, token };
  const verdict = await authoriseRun(context, state.settings, caller, question);
  if (verdict.allowed) return undefined;
  const error = `not authorised: ${verdict.reason}`;
  logRefusal(context, caller, script.name, reqid, error);
  return notRun({ script: script.name, reqid, error });
}

/** What the hook says of a run. */
export const authoriseRun = (
  { clock, hook }: AgentContext,
  settings: AgentSettings,
  { id, serial, address }: CallingDispatcher,
  question: Pick<Ask, 'args' | 'username' | 'token'> & { readonly script: string },
): Promise<HookVerdict> =>
  hook(settings)
    .ask({
      action: 'run',
      hosts: [],
      sourceIp: address,
      timestamp: timestamp(clock.now()),
      dispatcher: { id, serial },
      ...question,
    })
    .map((outcome) => judgeHook(outcome, 'allow'))
    .unwrapOr({ allowed: false, reason: 'hook failed', code: undefined });

/** Aborted when the run is cancelled, or the agent ends it. Nothing of it is left at what lives as long as the agent. */
function endOf(runs: Runs, cancelled: AbortSignal | undefined) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const release = runs.onStopping(abort);
  cancelled?.addEventListener('abort', abort);
  if (cancelled?.aborted) abort();
  return { signal: controller.signal, release };
}

interface Executed {
  readonly answer: HttpAnswer;
  /** What the answer says. */
  readonly result: Readonly<Record<string, unknown>>;
  /** Bytes in all of each stream. */
  readonly totals: { readonly stdout: number; readonly stderr: number };
  /** Settled when what was answered for without its end has ended. */
  readonly goesOn: Promise<void> | undefined;
}

/** Runs the script to its end, and records it. */
async function execute(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  runs: Runs,
  ask: Ask,
  begun: BegunRun,
  onOutput: OutputSink | undefined,
): Promise<Executed> {
  const { clock, events } = context;
  const { script, reqid, username, timeout } = ask;
  const started = clock.monotonic();
  const about = { script: script.name, reqid, dispatcher: caller.id, ip: caller.address };
  events.emit({ action: 'run-start', fields: { ...about, username: username || undefined } });
  const stopping = runs.stopping.signal;
  const { signal, release } = endOf(runs, begun.cancelled);
  const outcome = await scriptPath(context, state.settings, script.path).andThen((path) =>
    runnerOf(context, path).run({
      ...programOf(context, state, caller, ask),
      path,
      signal,
      ...(onOutput && { onOutput }),
    }),
  );
  release();
  begun.ended();
  const totals = outcome.map(totalsOf).unwrapOr({ stdout: 0, stderr: 0 });
  const result = outcome.match(
    (ended) => resultOf(ended, { timeout, stopping: stopping.aborted && begun.cancelled?.aborted !== true }),
    (error): RunResult => notExecuted(begun.cancelled?.aborted ? cancelled : error.message),
  );
  const described = { script: script.name, ...(reqid !== undefined && { reqid }), ...result };
  const fitted = caller.unsigned ? fittedForLegacy(described, totals) : described;
  const answer = jsonAnswer(200, fitted);
  await begun.end(answer.body);
  events.emit({
    action: 'run-end',
    level: result.exit === 0 ? 'info' : 'warning',
    fields: {
      ...about,
      exit: result.exit,
      ms: Math.round(clock.monotonic() - started),
      error: result.error,
    },
  });
  const goesOn = outcome.isOk() ? outcome.value.goesOn : undefined;
  return { answer, result: { ...fitted }, totals, goesOn };
}

const logRefusal = (
  { events }: AgentContext,
  caller: CallingDispatcher,
  script: string | undefined,
  reqid: string | undefined,
  reason: string,
) =>
  events.emit({
    action: 'run-refused',
    level: 'warning',
    fields: { script, reqid, dispatcher: caller.id, ip: caller.address, reason },
  });
