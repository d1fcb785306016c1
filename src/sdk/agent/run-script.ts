import { err, ok, type Result } from 'neverthrow';
import { judgeHook } from '../../domain/auth-hook.js';
import { utf8 } from '../../domain/bytes.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/http-message.js';
import { parseJsonObject } from '../../domain/json.js';
import { isReqid } from '../../domain/names.js';
import type { CapturedStream, ProcessOutcome } from '../../ports/process-runner.js';
import { timestamp } from '../timestamp.js';
import type { AgentContext } from './context.js';
import { type Script, scriptPath } from './scripts.js';
import type { AgentState } from './state.js';

/** A dispatcher that has been recognised. */
export interface CallingDispatcher {
  readonly id: string;
  readonly serial: string;
  readonly address: string;
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

/** Answers `POST /run`: allowlist, hook, execution (wire-protocol 1.2). */
export async function runScript(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  body: Uint8Array,
  stopping: AbortSignal,
): Promise<HttpAnswer> {
  const asked = readAsk(state, body);
  if (asked.isErr()) {
    const { script, reqid, error } = asked.error;
    logRefusal(context, caller, typeof script === 'string' ? script : undefined, reqid, error);
    return notRun(asked.error);
  }
  const { script, args, reqid, username, token } = asked.value;
  const verdict = await context
    .hook(state.settings)
    .ask({
      action: 'run',
      script: script.name,
      hosts: [],
      args,
      username,
      token,
      sourceIp: caller.address,
      timestamp: timestamp(context.clock.now()),
      dispatcher: { id: caller.id, serial: caller.serial },
    })
    .map((outcome) => judgeHook(outcome, 'allow'))
    .unwrapOr({ allowed: false, reason: 'hook failed', code: undefined });
  if (!verdict.allowed) {
    const error = `not authorised: ${verdict.reason}`;
    logRefusal(context, caller, script.name, reqid, error);
    return notRun({ script: script.name, reqid, error });
  }
  return execute(context, state, caller, asked.value, stopping);
}

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
      maxOutput: settings.maxOutput,
      signal: stopping,
    }),
  );
  const answer = outcome.match(
    (ended) => ({
      script: script.name,
      ...describeEnd(ended, timeout, stopping.aborted),
      ...describeOutput(ended),
    }),
    (error) => ({ script: script.name, exit: 126, error: error.message, stdout: '', stderr: '' }),
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
  return jsonAnswer(200, { ...answer, ...(reqid !== undefined && { reqid }) });
}

function describeEnd(
  { end }: ProcessOutcome,
  timeout: number,
  stopping: boolean,
): { exit: number; error?: string } {
  if (end.kind === 'exited') return { exit: end.code };
  const why = end.timedOut
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
