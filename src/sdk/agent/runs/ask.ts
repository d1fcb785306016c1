import { err, ok, type Result } from 'neverthrow';
import { utf8 } from '../../../domain/core/bytes.js';
import { isReqid } from '../../../domain/core/names.js';
import type { RunAsk } from '../../../domain/protocol/run-messages.js';
import type { Program } from '../../../ports/process-runner.js';
import { timestamp } from '../../core/timestamp.js';
import type { OutcomeOf, Refusal } from '../../protocol/endpoint.js';
import type { run } from '../../protocol/endpoints.js';
import type { Call, Caller } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { Script } from '../state/scripts.js';
import type { AgentState } from '../state/state.js';
import type { Place, Runs } from './runs.js';

/** What is answered to `run`. */
export type RunOutcome = OutcomeOf<typeof run> | Refusal;

/** A run as asked for, its form checked. */
export interface Ask {
  /** `sync`: the answer has the result. `stream`: it has the output as it comes. `async`: the run outlives request and agent. */
  readonly mode: 'sync' | 'stream' | 'async';
  readonly script: Script;
  readonly args: readonly string[];
  readonly reqid: string | undefined;
  readonly username: string;
  readonly token: string;
  /** Milliseconds; 0: none. */
  readonly timeout: number;
}

/** A run on its way: what is asked, by whom, and what decides about it. */
export interface AskedRun {
  readonly context: AgentContext;
  readonly state: AgentState;
  readonly runs: Runs;
  readonly caller: Caller;
  readonly ask: Ask;
  readonly place: Place;
}

/** What is said of a run in events. */
export const about = ({ ask, caller }: Pick<AskedRun, 'ask' | 'caller'>) => ({
  script: ask.script.name,
  reqid: ask.reqid,
  dispatcher: caller.id,
  ip: caller.address,
});

/** Why nothing was run. */
export interface NotRun {
  readonly script?: unknown;
  readonly reqid?: string | undefined;
  readonly error: string;
}

export const notRun = ({ script, reqid, error }: NotRun): RunOutcome => ({
  outcome: 'ended',
  script: typeof script === 'string' ? script.slice(0, 255) : undefined,
  reqid,
  result: { exit: -1, error },
});

/** The run asked for was not begun. */
export const refusedRun = ({ ask: { script, reqid } }: Pick<AskedRun, 'ask'>, error: string): RunOutcome =>
  notRun({ script: script.name, reqid, error });

export function unrecorded(asked: AskedRun, reason: string): RunOutcome {
  asked.context.events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  return refusedRun(asked, 'the agent cannot record the run, so it was not begun');
}

export const alreadyRunning = 'script already running';

/** Another run of the script goes on; an async run is told in the form of legacy agents (wire-protocol 1.2). */
export const busy = ({ ask: { mode, script, reqid } }: Pick<AskedRun, 'ask'>): RunOutcome =>
  mode === 'async'
    ? { outcome: 'busy', script: script.name, reqid, error: alreadyRunning }
    : {
        outcome: 'ended',
        script: script.name,
        reqid,
        result: { exit: -1, error: alreadyRunning, stdout: '', stderr: '' },
      };

/** Judges what `POST /run` asks for by its form and by the allowlist (wire-protocol 1.2). */
export function readAsk(
  state: AgentState,
  { script: name, args, reqid: id, username, token, timeout, async: isAsync, stream: streamed }: RunAsk,
  call: Call,
): Result<Ask, NotRun> {
  const reqid = typeof id === 'string' && isReqid(id) ? id : undefined;
  const refuse = (error: string) => err({ script: name, reqid, error });
  const script =
    typeof name === 'string' ? /* defence: only-named-scripts-run */ state.scripts.get(name) : undefined;
  if (!script) return refuse('script not permitted');
  if (!args.every((arg): arg is string => typeof arg === 'string' && !arg.includes('\0')))
    return refuse('args must be strings without NUL');
  if (isAsync && streamed) return refuse('an async run cannot be streamed');
  if (isAsync && reqid === undefined) {
    const said = typeof id === 'string' ? id.slice(0, 64) : undefined;
    return err({ script: name, reqid: said, error: 'async run requires a valid reqid' });
  }
  if (streamed && call.stream.isErr()) return refuse(call.stream.error);
  const limit = limitOf(timeout, state.settings.runTimeout);
  if (limit === undefined) return refuse('timeout must be a whole number of seconds from 1 to 604800');
  return ok({
    mode: isAsync ? 'async' : streamed ? 'stream' : 'sync',
    script,
    args,
    reqid,
    username,
    token,
    timeout: limit * 1000,
  });
}

/** The shorter of what was asked for and what the agent allows, seconds; undefined when the request is malformed. */
function limitOf(asked: unknown, allowed: number): number | undefined {
  if (asked === undefined) return allowed;
  if (typeof asked !== 'number' || !Number.isInteger(asked) || asked < 1 || asked > 604_800) return undefined;
  return allowed === 0 ? asked : Math.min(asked, allowed);
}

/** What is run for an ask, but for the path. */
export function programOf({ context, state, caller, ask }: AskedRun): Omit<Program, 'path'> {
  const { clock, environment } = context;
  const { script, args, reqid, username, token, timeout } = ask;
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
  return {
    args,
    stdin: utf8(JSON.stringify(input)),
    env: environment,
    stdinTimeout: state.settings.stdinTimeout * 1000,
    timeout,
    maxOutput: Math.min(state.settings.maxOutput, caller.guarantees.maxOutput),
  };
}
