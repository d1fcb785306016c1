import { err } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import { askedScript } from '../../../domain/core/names.js';
import type { RunAsk } from '../../../domain/protocol/run-messages.js';
import type { DispatcherContext } from '../context.js';
import type { Asking } from '../fleet/ask.js';

/** What is to be run, and where. */
export interface ScriptRequest extends Asking {
  /** Registered names, `host:port`, `[v6]:port` or unregistered host names; at least one. A repeated one counts once. */
  readonly hosts: readonly string[];
  /** Name in the agents' allowlists; 1 to 255 printable characters. An agent that has no such script says so in its result. */
  readonly script: string;
  /** The argument vector; strings without NUL, passed byte for byte as UTF-8. Default: none. */
  readonly args?: readonly string[];
  /**
   * Whole seconds after which an agent ends the script, 1 to 604,800. Default: `run_timeout` of the agent. Legacy agents do not
   * know it.
   */
  readonly timeout?: number;
  /**
   * 1 to 255 printable ASCII characters. The first request with it is run; the same request again starts nothing, and is given the
   * answer of the first, for as long as that is recorded (`run_ttl`), whichever processes they are. `idempotency_mismatch`: it was
   * another request, or another token's. Each user name has keys of its own. One that was not begun (denied, locked, malformed)
   * uses no key.
   */
  readonly idempotencyKey?: string;
  /**
   * Ends the wait of a repetition for what another call has begun, which goes on: `aborted` then. A run that this call begins does
   * not heed it.
   */
  readonly repeatSignal?: AbortSignal;
  /** Called once the run is recorded, before any host is contacted; in a repetition with the id of the first. */
  readonly onBegin?: (reqid: string) => void;
}

/** Seconds. */
const longestTimeout = 604_800;

/** Milliseconds that an answer is waited for: what the script may take, and a little (wire-protocol 2.5). */
export const patience = ({ settings }: DispatcherContext, timeout: number | undefined): number =>
  Math.max(settings.readTimeout, timeout === undefined ? 0 : timeout + 5) * 1000;

/** What an agent is told to run. */
export const runAsk = (
  { script, args = [], caller = {}, timeout }: ScriptRequest,
  reqid: string,
  how: Pick<RunAsk, 'async' | 'stream'>,
): RunAsk => ({
  script,
  args,
  reqid,
  username: caller.username ?? '',
  token: caller.token ?? '',
  timeout,
  ...how,
});

/** The form of a request. */
export function checkRequest({
  hosts,
  script,
  args = [],
  timeout = 1,
  idempotencyKey: key = '-',
}: ScriptRequest) {
  const invalid = (field: string, reason: string) =>
    err(failure('invalid_argument', `${field}: ${reason}`, { field, reason }));
  if (hosts.length === 0) return invalid('hosts', 'at least one host is needed');
  if (!Array.isArray(args) || args.some((arg) => typeof arg !== 'string' || arg.includes('\0')))
    return invalid('args', 'must be strings without NUL');
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > longestTimeout)
    return invalid('timeout', `must be whole seconds from 1 to ${longestTimeout}`);
  if (typeof key !== 'string' || !/^[ -~]{1,255}$/.test(key))
    return invalid('idempotencyKey', 'must be 1 to 255 printable ASCII characters');
  return askedScript(script).map(() => undefined);
}
