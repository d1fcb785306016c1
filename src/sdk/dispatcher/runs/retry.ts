import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { progressOf, type RunProgress } from '../../../domain/runs/progress.js';
import { hostsOf, type RunRecord } from '../../../domain/runs/record.js';
import type { DispatcherContext } from '../context.js';
import type { Asking } from '../fleet/ask.js';
import type { RunFailure } from './begin.js';
import { lookUp } from './lookup.js';
import { ownKey } from './repeat.js';
import type { ScriptRequest } from './request.js';
import { type Run, type RunRequest, run, type SubmitRequest, type Submitted, submit } from './run.js';
import { look, type StatusFailure } from './status.js';

/** How a run is tried again; what is run, and where, the run itself says. */
export type RetryOptions = Omit<RunRequest, 'hosts' | 'script' | 'args'>;
/** As `RetryOptions`, for agents that run it by themselves. */
export type RetrySubmitOptions = Omit<SubmitRequest, 'hosts' | 'script' | 'args'>;

export type RetryFailure = StatusFailure | RunFailure | CtrlExecError<'not_ready' | 'aborted'>;

/**
 * The same script with the same arguments once more, as a run of its own, on the hosts where it did not end with exit 0. Agents
 * whose end is not known are asked first; as long as it may still run anywhere that is `not_ready`. `invalid_argument`: it
 * failed nowhere. The hook is asked as for `status` of the run, and as for a run of the caller.
 */
export function retry(
  context: DispatcherContext,
  id: string,
  options: RetryOptions = {},
): ResultAsync<Run, RetryFailure> {
  return failedPart(context, id, options).andThen(({ reqid, ...order }) =>
    run(context, { ...options, ...order }, reqid).mapErr((error): RetryFailure => error),
  );
}

/** The same, and the agents run it by themselves. */
export function retryAsync(
  context: DispatcherContext,
  id: string,
  options: RetrySubmitOptions = {},
): ResultAsync<Submitted, RetryFailure> {
  return failedPart(context, id, options).andThen(({ reqid, ...order }) =>
    submit(context, { ...options, ...order }, reqid).mapErr((error): RetryFailure => error),
  );
}

/** What is run again, and of which run that is. */
type Order = Required<Pick<ScriptRequest, 'hosts' | 'script' | 'args'>> & Pick<RunRecord, 'reqid'>;

const invalid = (reason: string) =>
  err(failure('invalid_argument', `reqid: ${reason}`, { field: 'reqid', reason }));

function failedPart(
  context: DispatcherContext,
  id: string,
  asking: Asking & Pick<ScriptRequest, 'idempotencyKey'>,
): ResultAsync<Order, RetryFailure> {
  return safeTry<Order, RetryFailure>(async function* () {
    const found = yield* lookUp(context, 'status', id, asking);
    const { reqid, script, args } = found.record;
    if (args === undefined)
      return invalid(`run ${reqid} was recorded by an older version, without its arguments`);
    const { idempotencyKey: key, caller } = asking;
    const earlier =
      key === undefined
        ? undefined
        : yield* context.runStore.findByIdempotencyKey(ownKey(context, key, caller));
    // The same retry again: what has been learnt since does not make it another one.
    if (earlier?.retryOf === reqid) return ok({ reqid, hosts: hostsOf(earlier), script, args });
    const { record } = found;
    if (record.underWay)
      return notReady(reqid, 'running', progressOf(record, context.clock.now()).pending.join(', '));
    const progress = yield* look(context, found, asking);
    if (asking.signal?.aborted) return err(failure('aborted', 'stopped by the caller', {}));
    const runs = progress.results.some(({ state }) => state === 'running');
    if (progress.pending.length > 0) return notReady(reqid, runs ? 'running' : 'unknown', describe(progress));
    const hosts = failedHosts(progress);
    return hosts.length > 0 ? ok({ reqid, hosts, script, args }) : invalid(`run ${reqid} failed on no host`);
  });
}

const notReady = (id: string, state: 'running' | 'unknown', hosts: string) =>
  err(
    failure('not_ready', `run ${id} may still run on ${hosts}: wait for its end, or cancel it`, {
      id,
      state,
    }),
  );

/** Hosts that are shown in a message. */
const maxNamed = 5;

function describe({ pending, results }: RunProgress): string {
  const named = pending.slice(0, maxNamed).map((host) => {
    const why = results.find((each) => each.host === host)?.fetchError;
    return why === undefined ? host : `${host} (${why})`;
  });
  return named.join(', ') + (pending.length > maxNamed ? ', …' : '');
}

const failedHosts = ({ results }: RunProgress): readonly string[] =>
  results.filter(({ state }) => state !== 'succeeded').map(({ host }) => host);
