import { err, ok, type Result } from 'neverthrow';
import { parseJsonObject } from '../../../domain/core/json.js';
import { isReqid } from '../../../domain/core/names.js';
import { legacyArgumentText } from '../../../domain/legacy/arguments.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { IncomingRequest } from '../../../ports/listener.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import type { Script } from './scripts.js';

/** `sync`: the answer has the result. `stream`: it has the output as it comes. `async`: the run outlives request and agent. */
type RunMode = 'sync' | 'stream' | 'async';

/** A run as asked for, its form checked. */
export interface Ask {
  readonly mode: RunMode;
  readonly script: Script;
  readonly args: readonly string[];
  readonly reqid: string | undefined;
  readonly username: string;
  readonly token: string;
  /** Milliseconds; 0: none. */
  readonly timeout: number;
}

/** An answer in the form of wire-protocol 1.2: 200, exit -1 and why. */
export interface NotRun {
  readonly script?: unknown;
  readonly reqid?: string | undefined;
  readonly error: string;
}

export const notRun = ({ script, reqid, error }: NotRun): HttpAnswer =>
  jsonAnswer(200, {
    ...(typeof script === 'string' && { script: script.slice(0, 255) }),
    exit: -1,
    error,
    ...(reqid !== undefined && { reqid }),
  });

const cannotRecord = 'the agent cannot record the run, so it was not begun';

export function unrecorded({ events }: AgentContext, { script, reqid }: Ask, reason: string): HttpAnswer {
  events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  return notRun({ script: script.name, reqid, error: cannotRecord });
}

const alreadyRunning = 'script already running';

/** Another run of the script goes on; an async run is told in the form of legacy agents (wire-protocol 1.2). */
export const busy = (script: string, reqid: string): HttpAnswer =>
  jsonAnswer(409, { script, status: 'busy', reqid, error: alreadyRunning });

export const busySync = (script: string, reqid: string | undefined): HttpAnswer =>
  jsonAnswer(200, {
    script,
    exit: -1,
    error: alreadyRunning,
    ...(reqid !== undefined && { reqid }),
    stdout: '',
    stderr: '',
  });

/** Reads what `POST /run` asks for, and judges it by its form and by the allowlist (wire-protocol 1.2). */
export function readAsk(
  state: AgentState,
  caller: CallingDispatcher,
  { httpVersion }: Pick<IncomingRequest, 'httpVersion'>,
  body: Uint8Array,
): Result<Ask, NotRun> {
  const parsed = parseJsonObject(body);
  if (parsed.isErr()) return err({ error: 'invalid JSON' });
  const { script: name, args = [], reqid: id, username, token, timeout } = parsed.value;
  const reqid = typeof id === 'string' && isReqid(id) ? id : undefined;
  const refuse = (error: string) => err({ script: name, reqid, error });
  if (!Array.isArray(args)) return err({ reqid, error: 'args must be an array' });
  const script =
    typeof name === 'string' ? /* defence: only-named-scripts-run */ state.scripts.get(name) : undefined;
  if (!script) return refuse('script not permitted');
  const given: readonly unknown[] = caller.unsigned ? args.map(legacyArgumentText) : args;
  if (!given.every((arg): arg is string => typeof arg === 'string' && !arg.includes('\0')))
    return refuse('args must be strings without NUL');
  const isAsync = parsed.value['async'] === true;
  const streamed = parsed.value['stream'] === true;
  if (isAsync && streamed) return refuse('an async run cannot be streamed');
  if (isAsync && reqid === undefined) {
    const said = typeof id === 'string' ? id.slice(0, 64) : undefined;
    return err({ script: name, reqid: said, error: 'async run requires a valid reqid' });
  }
  if (streamed && caller.unsigned) return refuse('streamed runs need a signed request');
  if (streamed && httpVersion === '1.0') return refuse('streamed runs need HTTP/1.1');
  const limit = limitOf(timeout, state.settings.runTimeout);
  if (limit === undefined) return refuse('timeout must be a whole number of seconds from 1 to 604800');
  return ok({
    mode: isAsync ? 'async' : streamed ? 'stream' : 'sync',
    script,
    args: given,
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
