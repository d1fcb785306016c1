import { err, ok, okAsync, type Result } from 'neverthrow';
import type { AgentSettings } from '../../domain/agent-settings.js';
import { type HookVerdict, judgeHook } from '../../domain/auth-hook.js';
import { utf8 } from '../../domain/bytes.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/http-message.js';
import { parseJsonObject } from '../../domain/json.js';
import { fittedForLegacy, maxLegacyAnswer } from '../../domain/legacy-answer.js';
import { isReqid } from '../../domain/names.js';
import type { AgentRuns, KnownRun } from '../../ports/agent-runs.js';
import type { CapturedStream, ProcessOutcome } from '../../ports/process-runner.js';
import { timestamp } from '../timestamp.js';
import type { AgentContext } from './context.js';
import type { CallingDispatcher } from './recognise.js';
import { type Script, scriptPath } from './scripts.js';
import type { AgentState } from './state.js';

/** What runs share, as long as an agent serves. */
export interface Running {
  /** Aborted when the agent stops and has waited long enough. */
  readonly stopping: AbortController;
  /** What makes a request id run at most once. */
  readonly store: AgentRuns;
  /** When the store was last rid of what is too old, epoch milliseconds. */
  purgedAt: number | undefined;
}

/** A run as asked for, its form checked. */
interface Ask {
  readonly script: Script;
  readonly args: readonly string[];
  readonly reqid: string | undefined;
  readonly username: string;
  readonly token: string;
  /** Milliseconds; 0: none. */
  readonly timeout: number;
}

/** An answer in the form of wire-protocol 1.2: 200, exit -1 and why. */
interface NotRun {
  readonly script?: unknown;
  readonly reqid?: string | undefined;
  readonly error: string;
}

const notRun = ({ script, reqid, error }: NotRun): HttpAnswer =>
  jsonAnswer(200, {
    ...(typeof script === 'string' && { script: script.slice(0, 255) }),
    exit: -1,
    error,
    ...(reqid !== undefined && { reqid }),
  });

/** Answers `POST /run`: allowlist, hook, at most once, execution (wire-protocol 1.2, 2.3). */
export async function runScript(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  runs: Running,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const asked = readAsk(state, body);
  if (asked.isErr()) {
    const { script, reqid, error } = asked.error;
    logRefusal(context, caller, typeof script === 'string' ? script : undefined, reqid, error);
    return notRun(asked.error);
  }
  const { script, args, reqid, username, token } = asked.value;
  const question = { script: script.name, args, username, token };
  const verdict = await authoriseRun(context, state.settings, caller, question);
  if (!verdict.allowed) {
    const error = `not authorised: ${verdict.reason}`;
    logRefusal(context, caller, script.name, reqid, error);
    return notRun({ script: script.name, reqid, error });
  }
  return once(context, caller, runs, asked.value, () =>
    execute(context, state, caller, asked.value, runs.stopping.signal),
  );
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

function readAsk(state: AgentState, body: Uint8Array): Result<Ask, NotRun> {
  const parsed = parseJsonObject(body);
  if (parsed.isErr()) return err({ error: 'invalid JSON' });
  const { script: name, args = [], reqid: id, username, token, timeout } = parsed.value;
  const reqid = typeof id === 'string' && isReqid(id) ? id : undefined;
  const refuse = (error: string) => err({ script: name, reqid, error });
  if (!Array.isArray(args)) return err({ reqid, error: 'args must be an array' });
  const script = typeof name === 'string' ? state.scripts.get(name) : undefined;
  if (!script) return refuse('script not permitted');
  if (!args.every((arg): arg is string => typeof arg === 'string' && !arg.includes('\0')))
    return refuse('args must be strings without NUL');
  if (parsed.value['async'] === true) return refuse('async runs are not served by this version');
  if (parsed.value['stream'] === true) return refuse('streamed runs are not served by this version');
  const limit = limitOf(timeout, state.settings.runTimeout);
  if (limit === undefined) return refuse('timeout must be a whole number of seconds from 1 to 604800');
  return ok({
    script,
    args,
    reqid,
    username: typeof username === 'string' ? username : '',
    token: typeof token === 'string' ? token : '',
    timeout: limit * 1000,
  });
}

/** The shorter of what was asked for and what the agent allows, seconds; undefined when the request is malformed. */
function limitOf(asked: unknown, allowed: number): number | undefined {
  if (asked === undefined) return allowed;
  if (typeof asked !== 'number' || !Number.isInteger(asked) || asked < 1 || asked > 604_800) return undefined;
  return allowed === 0 ? asked : Math.min(asked, allowed);
}

/** How long a request id is remembered, milliseconds. */
const rememberedFor = 86_400_000;

/** Milliseconds between two purges: each looks at every run that is remembered. */
const purgeInterval = 60_000;

function purgeNowAndThen(runs: Running, now: number): ReturnType<AgentRuns['purge']> {
  const { purgedAt, store } = runs;
  if (purgedAt !== undefined && Math.abs(now - purgedAt) < purgeInterval) return okAsync(0);
  runs.purgedAt = now;
  return store.purge(now - rememberedFor);
}

/**
 * Runs a request id at most once for its dispatcher: a repetition is given the answer of before, or told that it still
 * runs. A run without an id cannot be told from another.
 */
async function once(
  { clock, events }: AgentContext,
  caller: CallingDispatcher,
  runs: Running,
  { script: { name: script }, reqid }: Ask,
  run: () => Promise<HttpAnswer>,
): Promise<HttpAnswer> {
  // A legacy dispatcher's reqid is no promise of it; unsigned requests are exempt.
  if (reqid === undefined || caller.unsigned) return run();
  const key = { owner: caller.id, reqid };
  const now = clock.now();
  const { store } = runs;
  const claimed = await purgeNowAndThen(runs, now).andThen(() => store.begin(key, script, now));
  if (claimed.isErr()) {
    const reason = claimed.error.message;
    events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
    return notRun({ script, reqid, error: 'the agent cannot record the run, so it was not begun' });
  }
  switch (claimed.value.kind) {
    case 'full':
      return jsonAnswer(503, { error: 'busy: too many runs within a day' }, [['retry-after', '60']]);
    case 'known': {
      const { run: known } = claimed.value;
      events.emit({
        action: 'run-repeated',
        level: 'warning',
        fields: { script, reqid, dispatcher: caller.id, ip: caller.address, state: known.state },
      });
      return repetition(known, script, reqid);
    }
    case 'begun': {
      const answer = await run();
      const ended = await store.end(key, clock.now(), answer.body);
      // The script has run: its result is given out, whatever becomes of the record.
      if (ended.isErr())
        events.emit({ action: 'internal-error', level: 'error', fields: { reason: ended.error.message } });
      return answer;
    }
  }
}

function repetition(known: KnownRun, script: string, reqid: string): HttpAnswer {
  if (known.script !== script)
    return notRun({ script, reqid, error: `this request id has run ${known.script} before` });
  if (known.state === 'running') return jsonAnswer(409, { status: 'running', reqid });
  if (known.state === 'lost')
    return notRun({ script, reqid, error: 'lost: the agent went down while the script ran' });
  if (known.answer === undefined)
    return notRun({ script, reqid, error: 'it has run, but its output is not kept any more' });
  return { status: 200, headers: [['content-type', 'application/json']], body: known.answer };
}

async function execute(
  context: AgentContext,
  { settings }: AgentState,
  caller: CallingDispatcher,
  ask: Ask,
  stopping: AbortSignal,
): Promise<HttpAnswer> {
  const { clock, runner, environment, events } = context;
  const { script, args, reqid, username, token, timeout } = ask;
  const started = clock.monotonic();
  const about = { script: script.name, reqid, dispatcher: caller.id, ip: caller.address };
  events.emit({ action: 'run-start', fields: { ...about, username: username || undefined } });
  const input = {
    script: script.name,
    args,
    reqid: reqid ?? '',
    peer_ip: caller.address,
    username,
    token,
    dispatcher: caller.id,
    timestamp: timestamp(clock.now()),
  };
  const outcome = await scriptPath(context, settings, script.path).andThen((path) =>
    runner.run({
      path,
      args,
      stdin: utf8(JSON.stringify(input)),
      env: environment,
      stdinTimeout: settings.stdinTimeout * 1000,
      timeout,
      maxOutput: caller.unsigned ? Math.min(settings.maxOutput, maxLegacyAnswer) : settings.maxOutput,
      signal: stopping,
    }),
  );
  const answer = outcome.match(
    (ended) => {
      const described = {
        script: script.name,
        ...(reqid !== undefined && { reqid }),
        ...describeEnd(ended, timeout, stopping.aborted),
        ...describeOutput(ended),
      };
      const totals = { stdout: ended.stdout.total, stderr: ended.stderr.total };
      return caller.unsigned ? fittedForLegacy(described, totals) : described;
    },
    (error) => ({
      script: script.name,
      ...(reqid !== undefined && { reqid }),
      exit: 126,
      error: error.message,
      stdout: '',
      stderr: '',
    }),
  );
  events.emit({
    action: 'run-end',
    level: answer.exit === 0 ? 'info' : 'warning',
    fields: {
      ...about,
      exit: answer.exit,
      ms: Math.round(clock.monotonic() - started),
      error: 'error' in answer ? answer.error : undefined,
    },
  });
  return jsonAnswer(200, answer);
}

function describeEnd(
  { end, stopped }: ProcessOutcome,
  timeout: number,
  stopping: boolean,
): { exit: number; error?: string } {
  if (end.kind === 'exited') return { exit: end.code };
  const why =
    stopped === 'timeout'
      ? `: ran longer than ${timeout / 1000} s`
      : stopping
        ? ': the agent was stopped'
        : '';
  return { exit: 126, error: `killed by ${end.signal}${why}` };
}

function describeOutput({ stdout, stderr }: ProcessOutcome) {
  const cut = (stream: CapturedStream) => stream.total > stream.bytes.length;
  const truncated = {
    ...(cut(stdout) && { stdout: stdout.total }),
    ...(cut(stderr) && { stderr: stderr.total }),
  };
  return {
    stdout: decode(stdout.bytes),
    stderr: decode(stderr.bytes),
    ...(Object.keys(truncated).length > 0 && { truncated }),
  };
}

/** Invalid UTF-8 becomes U+FFFD; a byte order mark is output like any other. */
const decode = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

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
