import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex, lengthPrefixed } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { HostResult, HostState, RunMode, RunRecord, Submission } from '../../../domain/runs/record.js';
import { wait } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import type { Prepared } from '../fleet/ask.js';
import type { Caller } from '../fleet/authorise.js';
import { recordFailed } from '../fleet/contact.js';
import type { Found } from './lookup.js';
import type { ScriptRequest } from './request.js';
import { look, type StatusFailure } from './status.js';
import { waitFor } from './wait.js';

export type RepeatFailure = StatusFailure | CtrlExecError<'aborted' | 'idempotency_mismatch'>;

/**
 * What tells one caller from another, salted with the id of the run: the token is not to be kept. Whoever gives a name is that one
 * with any token that the hook takes, for tokens are refreshed.
 */
export const callerDigest = (
  { crypto }: DispatcherContext,
  reqid: string,
  { username = '', token = '' }: Caller = {},
): string =>
  hex(crypto.sha256(lengthPrefixed('ctrl-exec caller v1', reqid, username, username === '' ? token : '')));

/** Every user name has keys of its own, and they who give none have theirs together: this is how a key is kept. */
export const ownKey = ({ crypto }: DispatcherContext, key: string, { username = '' }: Caller = {}): string =>
  `${hex(crypto.sha256(lengthPrefixed('ctrl-exec key v1', username)))} ${key}`;

const same = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((each, index) => each === b[index]);

/**
 * A request that comes again: whether it is the one that `first` was for. Somebody else than its caller learns nothing else about it.
 */
export function sameRequest(
  context: DispatcherContext,
  first: RunRecord,
  { script, args = [], caller }: ScriptRequest,
  { mode, retryOf }: { readonly mode: RunMode; readonly retryOf: string | undefined },
  { hosts }: Prepared,
): CtrlExecError<'idempotency_mismatch'> | undefined {
  const differs = {
    caller: first.idempotency?.callerDigest !== callerDigest(context, first.reqid, caller),
    mode: first.mode !== mode,
    script: first.script !== script,
    hosts: !same(
      first.hosts,
      hosts.map(({ host }) => host),
    ),
    args: !same(first.args ?? [], args),
    retryOf: first.retryOf !== retryOf,
  };
  const [field] = Object.entries(differs).find(([, different]) => different) ?? [];
  if (field === undefined) return undefined;
  const message = `the idempotency key belongs to another request: ${field} differs; expected the same request, or a fresh key`;
  return failure('idempotency_mismatch', message, { field });
}

/** What ends a wait for a run of another call. */
export function waitSignal({
  signal,
  repeatSignal,
}: Pick<ScriptRequest, 'signal' | 'repeatSignal'>): AbortSignal | undefined {
  const signals = [signal, repeatSignal].filter((each) => each !== undefined);
  return signals.length === 2 ? AbortSignal.any(signals) : signals[0];
}

/** Milliseconds between two looks at a run that another call waits for: they grow from the first to the last. */
const intervals = { first: 20, last: 500, growth: 1.5 };

/** The record of a run once nobody waits for its agents any more: it has ended, or the process that had begun it has. */
function onceLeft(
  { clock, locks, runStore }: DispatcherContext,
  id: string,
  signal: AbortSignal | undefined,
): ResultAsync<RunRecord, RepeatFailure> {
  return safeTry<RunRecord, RepeatFailure>(async function* () {
    for (let interval = intervals.first; ; interval = Math.min(interval * intervals.growth, intervals.last)) {
      // Before the record is read: what is recorded last is recorded before the locks go.
      const underWay = (yield* locks.list()).some(({ reqid }) => reqid === id);
      if (!underWay) {
        const record = yield* runStore.find(id);
        if (record) return ok(record);
        return err(failure('request_unknown', `run ${id} is not recorded any more`, { id }));
      }
      yield* wait(clock, interval, signal);
    }
  });
}

const asFound = (record: RunRecord): Found => {
  const { script, hosts, args = [] } = record;
  return { record, question: { action: 'run', script, hosts, args } };
};

/**
 * The results of a sync run that another call has begun, once that has ended. Where its process died, the agents say what became of
 * it: a host that does not know the run has not begun it and never will.
 * @param patience milliseconds to wait for agents that know no end yet; a host is `unheard` then
 */
export function resultsOf(
  context: DispatcherContext,
  first: RunRecord,
  request: ScriptRequest,
  patience: number,
): ResultAsync<readonly HostResult[], RepeatFailure> {
  const { reqid, script } = first;
  const signal = waitSignal(request);
  return safeTry<readonly HostResult[], RepeatFailure>(async function* () {
    const record = yield* onceLeft(context, reqid, signal);
    if (record.completedAt !== undefined) return ok(record.results);
    const { port } = request;
    const asking = { ...(port !== undefined && { port }), ...(signal && { signal }) };
    const { status } = yield* waitFor(context, asFound(record), { ...asking, timeout: patience / 1000 });
    const none = { script, reqid, exit: -1, stdout: '', stderr: '', rtt: 0, unheard: true } as const;
    const error = `no end was heard within ${Math.round(patience / 1000)} s`;
    return ok(
      record.hosts.map((host): HostResult => {
        const { fetchError: _, ...known } = status.results.find((each) => each.host === host) ?? {};
        return 'exit' in known ? known : { host, ...none, error };
      }),
    );
  });
}

/** What the caller was told who submitted an async run; where its process died before that, what its agents say. */
export function submissionsOf(
  context: DispatcherContext,
  first: RunRecord,
  request: ScriptRequest,
): ResultAsync<readonly Submission[], RepeatFailure> {
  const { reqid } = first;
  const signal = waitSignal(request);
  return safeTry<readonly Submission[], RepeatFailure>(async function* () {
    const record = yield* onceLeft(context, reqid, signal);
    if (record.submissions) return ok(record.submissions);
    const { states } = yield* look(context, asFound(record), { ...request, ...(signal && { signal }) });
    if (signal?.aborted) return err(failure('aborted', 'stopped by the caller', {}));
    const submissions = states.map((state) => submissionOf(state, reqid));
    if (states.every(({ unheard }) => !unheard)) {
      const noted = await context.runStore.note(reqid, { submissions });
      if (noted.isErr()) recordFailed(context, noted.error.message, reqid);
    }
    return ok(submissions);
  });
}

/** As its agent said at the submission, as far as that can be told from how it stands now. */
function submissionOf({ host, status: now, error }: HostState, reqid: string): Submission {
  const status = now === 'busy' || now === 'error' ? now : 'accepted';
  const why = status !== 'accepted' && error !== undefined && { error };
  return { host, status, ...why, rtt: 0, reqid };
}
