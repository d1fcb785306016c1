import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { parseJsonObject } from '../../domain/core/json.js';
import { errorMessage } from '../../domain/core/thrown.js';
import { type ActionContext, type ActionFunction, type Actions, actionAt } from '../../domain/runs/action.js';
import type { EventLog } from '../../ports/event-log.js';
import type {
  ProcessEnd,
  ProcessOutcome,
  ProcessRequest,
  ProcessRunner,
} from '../../ports/process-runner.js';
import { printedOutput } from './output.js';
import { isAbort, whereThrown } from './thrown.js';

export interface ActionRunnerOptions {
  readonly actions: Actions;
  readonly events: EventLog;
  /** Milliseconds that an action has to end when it is told to; 5,000. */
  readonly killAfter?: number;
  /** Milliseconds that a sink may take to answer; 30,000. */
  readonly sinkPatience?: number;
}

type Settled =
  | { readonly kind: 'returned'; readonly value: unknown }
  | { readonly kind: 'threw'; readonly error: unknown };

const terminated: ProcessEnd = { kind: 'signalled', signal: 'SIGTERM' };

const notStarted = (path: string, reason: string): CtrlExecError<'spawn_failed'> =>
  failure('spawn_failed', `${path} could not be executed: ${reason}`, { path, reason });

/** What scripts read from their standard input. */
function told({ stdin, args }: ProcessRequest): Omit<ActionContext, 'signal' | 'stdout' | 'stderr'> {
  const input: Readonly<Record<string, unknown>> = parseJsonObject(stdin).unwrapOr({});
  const text = (member: string): string => {
    const value = input[member];
    return typeof value === 'string' ? value : '';
  };
  return {
    args: [...args],
    reqid: text('reqid'),
    username: text('username'),
    dispatcher: text('dispatcher'),
    peerIp: text('peer_ip'),
    timestamp: text('timestamp'),
    token: text('token') || undefined,
  };
}

/** Calls it in a turn of its own, so that what this process was about to say is said first; not at all where it is to end by then. */
const begin = (action: ActionFunction, context: ActionContext): Promise<Settled> =>
  new Promise<unknown>((resolve, reject) => {
    setImmediate(() => {
      if (context.signal.aborted) reject(context.signal.reason);
      else resolve((async () => action(context))());
    });
  }).then(
    (value): Settled => ({ kind: 'returned', value }),
    (error: unknown): Settled => ({ kind: 'threw', error }),
  );

const isExitCode = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255;

/** Calls back once, when the time is up or the caller gives up. */
function untilTold(
  { timeout, signal }: ProcessRequest,
  tell: (why: 'timeout' | 'cancelled') => void,
): () => void {
  const onAbort = () => tell('cancelled');
  const timer = timeout > 0 ? setTimeout(tell, timeout, 'timeout') : undefined;
  signal?.addEventListener('abort', onAbort);
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
}

const reasonOf = (why: 'timeout' | 'cancelled', timeout: number): DOMException =>
  why === 'timeout'
    ? new DOMException(`ran longer than ${timeout / 1000} s`, 'TimeoutError')
    : new DOMException('the run was told to end', 'AbortError');

async function execute(
  request: ProcessRequest,
  { actions, events, killAfter = 5_000, sinkPatience = 30_000 }: ActionRunnerOptions,
): Promise<Result<ProcessOutcome, CtrlExecError<'spawn_failed'>>> {
  const { path, args, maxOutput, onOutput, timeout } = request;
  if (request.signal?.aborted === true) return err(notStarted(path, 'cancelled before it was started'));
  const nul = args.findIndex((argument) => argument.includes('\0'));
  if (nul >= 0) return err(notStarted(path, `argument ${nul + 1} holds a NUL`));
  const action = actionAt(actions, path);
  if (action === undefined) return err(notStarted(path, 'there is no such action'));

  const about = told(request);
  const { reqid, dispatcher } = about;
  const fields = (reason: string) => ({
    script: path.slice(path.indexOf(':') + 1),
    reqid,
    dispatcher,
    reason,
  });
  const failed = (reason: string) =>
    events.emit({ action: 'action-failed', level: 'warning', fields: fields(reason) });
  const output = printedOutput(onOutput, maxOutput, sinkPatience);
  const { stdout, stderr } = output;
  const ending = new AbortController();
  let stopped: ProcessOutcome['stopped'];
  let overdueTimer: NodeJS.Timeout | undefined;
  const overdue = new Promise<'overdue'>((resolve) => {
    ending.signal.addEventListener('abort', () => {
      overdueTimer = setTimeout(resolve, killAfter, 'overdue');
    });
  });
  const settled = begin(action, { ...about, signal: ending.signal, stdout, stderr });
  const forget = untilTold(request, (why) => {
    if (stopped !== undefined) return;
    stopped = why;
    ending.abort(reasonOf(why, timeout));
  });

  const complain = (line: string): void => void stderr.write(`${line}\n`);
  const endOf = (how: Settled): ProcessEnd => {
    if (how.kind === 'returned' && isExitCode(how.value)) return { kind: 'exited', code: how.value };
    // Of what was told to end only a code of its own says that it ended otherwise.
    const otherwise: ProcessEnd = stopped === undefined ? { kind: 'exited', code: 1 } : terminated;
    if (how.kind === 'threw') {
      if (stopped !== undefined && isAbort(how.error, ending.signal)) return terminated;
      complain(errorMessage(how.error));
      failed(whereThrown(how.error));
      return otherwise;
    }
    const { value } = how;
    if (typeof value === 'string') void stdout.write(value);
    if (typeof value === 'string' || value === undefined || value === null)
      return stopped === undefined ? { kind: 'exited', code: 0 } : terminated;
    const found = typeof value === 'number' ? String(value) : `a value of type ${typeof value}`;
    const objection = `the action returned ${found}, expected nothing, an exit code from 0 to 255, or a text`;
    complain(objection);
    failed(objection);
    return otherwise;
  };

  const first = await Promise.race([settled, overdue]);
  forget();
  clearTimeout(overdueTimer);
  if (first === 'overdue') {
    const why = stopped === 'timeout' ? 'its time is up' : 'it was told to end';
    events.emit({ action: 'action-goes-on', level: 'warning', fields: fields(why) });
    const goesOn = settled.then(() => undefined);
    return ok({ end: terminated, stopped, ...(await output.end()), pipesHeldBy: undefined, goesOn });
  }
  const end = endOf(first);
  return ok({ end, stopped, ...(await output.end()), pipesHeldBy: undefined });
}

/**
 * Runs functions of this process as if they were programs, by paths `action:<name>`.
 *
 * What the port says of processes does not apply: there is no group, no environment, and standard input is what scripts
 * are told on theirs, read for the function. Nothing can kill a function: its signal is aborted where a process would get
 * SIGTERM, and where it would get SIGKILL the answer is given without it (`goesOn`). Ended so, or by its signal without
 * an exit code of its own, it counts as ended by SIGTERM. One that never lets go of the thread (a loop without `await`) stops this
 * whole process, the agent included.
 */
export const actionRunner = (options: ActionRunnerOptions): ProcessRunner => ({
  run: (request) => new ResultAsync(execute(request, options)),
});
