import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { backoff } from '../../../domain/core/backoff.js';
import { hex, lengthPrefixed, utf8 } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { HostResult } from '../../../domain/runs/host-result.js';
import { hostsOf, type Idempotency, type RunMode, type RunRecord } from '../../../domain/runs/record.js';
import { aborted, wait } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import type { Plan } from '../fleet/ask.js';
import type { Caller } from '../fleet/authorise.js';
import type { Found } from './lookup.js';
import { patience, type ScriptRequest } from './request.js';
import { look, type StatusFailure } from './status.js';
import { waitFor } from './wait.js';

export type RepeatFailure = StatusFailure | CtrlExecError<'aborted' | 'idempotency_mismatch'>;

/**
 * Who asked for a run, as its record keeps it; the token itself is not kept. The digest is of the name. The MAC is of the token,
 * which may be easy to guess: its key follows from the private key of this dispatcher, so that nobody who only has the records
 * can try tokens. Both are salted with the id of the run.
 * @param key private key of a dispatcher identity, PEM
 */
function callerMark(
  { crypto }: DispatcherContext,
  reqid: string,
  { username = '', token = '' }: Caller,
  key: string,
) {
  const macKey = crypto.hkdfSha256(utf8(key), new Uint8Array(), utf8('ctrl-exec token mac v1'), 32);
  return {
    callerDigest: hex(crypto.sha256(lengthPrefixed('ctrl-exec caller v1', reqid, username, ''))),
    tokenMac: hex(crypto.hmacSha256(macKey, lengthPrefixed('ctrl-exec token v1', reqid, token))),
  };
}

/** What makes a run that is about to begin one that is not begun again. */
export const idempotencyOf = (
  context: DispatcherContext,
  reqid: string,
  { idempotencyKey: key, caller = {} }: Pick<ScriptRequest, 'idempotencyKey' | 'caller'>,
  { identity }: Pick<Plan, 'identity'>,
): Idempotency | undefined =>
  key === undefined
    ? undefined
    : { key: ownKey(context, key, caller), ...callerMark(context, reqid, caller, identity.credentials.key) };

/**
 * Whether a run was asked for by this caller: by the same name with the same token. The key of the dispatcher may have been
 * rotated since, or by another process just now. A record of a version that kept no MAC is nobody's who has a token.
 */
function isOfCaller(
  context: DispatcherContext,
  { reqid, idempotency: kept }: RunRecord,
  caller: Caller = {},
  { identity }: Plan,
): boolean {
  const same = (a: string | undefined, b: string) =>
    a !== undefined && context.crypto.equal(utf8(a), utf8(b));
  return [identity, identity.next, identity.previous].some((each) => {
    if (!each) return false;
    const mark = callerMark(context, reqid, caller, each.credentials.key);
    const sameToken = kept?.tokenMac === undefined ? !caller.token : same(kept.tokenMac, mark.tokenMac);
    return same(kept?.callerDigest, mark.callerDigest) && /* defence: repeat-needs-same-token */ sameToken;
  });
}

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
  plan: Plan,
): CtrlExecError<'idempotency_mismatch'> | undefined {
  const differs = {
    caller: !isOfCaller(context, first, caller, plan),
    mode: first.mode !== mode,
    script: first.script !== script,
    hosts: !same(
      hostsOf(first),
      plan.hosts.map(({ host }) => host),
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
function waitSignal({
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
  { clock, runStore }: DispatcherContext,
  first: RunRecord,
  signal: AbortSignal | undefined,
): ResultAsync<RunRecord, RepeatFailure> {
  const { reqid: id } = first;
  return safeTry<RunRecord, RepeatFailure>(async function* () {
    let record: RunRecord | undefined = first;
    for (let attempt = 0; ; attempt += 1) {
      if (!record) return err(failure('run_unknown', `run ${id} is not recorded any more`, { id }));
      if (!record.underWay) return ok(record);
      yield* wait(clock, backoff(attempt, intervals), signal);
      record = yield* runStore.find(id);
    }
  });
}

const asFound = (record: RunRecord): Found => {
  const { script, args = [] } = record;
  return { record, question: { action: 'run', script, hosts: hostsOf(record), args } };
};

/**
 * What a run has come to that another call has begun, once nobody waits for it any more; of an async run how it stands. Where
 * its process died, the agents say what became of it: a host that does not know the run has not begun it and never will.
 */
export function repeated(
  context: DispatcherContext,
  first: RunRecord,
  request: ScriptRequest,
  mode: RunMode,
): ResultAsync<readonly HostResult[], RepeatFailure> {
  const signal = waitSignal(request);
  return safeTry<readonly HostResult[], RepeatFailure>(async function* () {
    const record = yield* onceLeft(context, first, signal);
    if (mode === 'async') {
      const { results } = yield* look(context, asFound(record), { ...request, ...(signal && { signal }) });
      return signal?.aborted ? err(aborted()) : ok(results);
    }
    if (record.completedAt !== undefined) return ok(record.results);
    const { port } = request;
    const asking = { ...(port !== undefined && { port }), ...(signal && { signal }) };
    const timeout = patience(context, request.timeout) / 1000;
    const { status } = yield* waitFor(context, asFound(record), { ...asking, timeout });
    return ok(status.results.map(({ fetchError: _, ...known }) => known));
  });
}
