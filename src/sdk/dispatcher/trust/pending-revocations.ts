import { ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { parallel } from '../../core/parallel.js';
import { unlessAborted } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { destinationOf } from './destination.js';

import { readDispatcherIdentity } from './identity.js';
import { takesNoList } from './legacy.js';
import { reconcile } from './reconcile/reconcile.js';
import { unrevoked } from './revoked.js';

/**
 * Since when an agent lacks a revocation, epoch milliseconds. Undefined: it has acknowledged the newest list, or is a legacy agent,
 * which takes none.
 */
export function pendingSince(
  { revocations }: Pick<DispatcherContext, 'revocations'>,
  { standing, pairedAt }: AgentRecord,
  revision: number,
): ResultAsync<number | undefined, CtrlExecError<'store_failed'>> {
  if (!can(standing, 'crl') || standing.crlNumber >= revision) return okAsync(undefined);
  return revocations.missingSince(standing.crlNumber).map((since) => since && Math.max(since, pairedAt));
}

/** Those of the agents that lack a revocation, and since when. Agents that are revoked themselves are not waited for. */
export function pendingAmong(
  context: DispatcherContext,
  records: readonly AgentRecord[],
): ResultAsync<ReadonlyMap<string, number>, CtrlExecError<'store_failed'>> {
  return safeTry<ReadonlyMap<string, number>, CtrlExecError<'store_failed'>>(async function* () {
    const revision = yield* context.revocations.revision();
    const behind = records.filter(({ standing }) => standing.crlNumber < revision);
    const pending = new Map<string, number>();
    for (const record of behind.length > 0 ? yield* unrevoked(context, behind) : []) {
      const since = yield* pendingSince(context, record, revision);
      if (since !== undefined) pending.set(record.name, since);
    }
    return ok(pending);
  });
}

/** An agent that could not be told, and why. */
export interface Untold {
  readonly name: string;
  readonly reason: string;
}

/** Who has the newest revocation list, and who has not. */
export interface OfferedRevocations {
  /** Agents that have acknowledged it. */
  readonly told: readonly string[];
  /** Agents that get it at the next contact. */
  readonly pending: readonly Untold[];
}

/** Most times that the list is made anew because an agent held a later one. */
const maxRounds = 3;

/**
 * Tells agents the newest revocation list, and whatever else they have missed. Where one of them holds a list with more on it, that
 * is merged, and all are told once more.
 */
export function pushRevocations(
  context: DispatcherContext,
  records: readonly AgentRecord[],
  signal: AbortSignal | undefined,
): ResultAsync<OfferedRevocations & { readonly number: number }, CtrlExecError> {
  const { registry, revocations, settings } = context;
  const names = new Set(records.map(({ name }) => name));
  const reasons = new Map<string, string>();
  const isTold = ({ standing }: AgentRecord, revision: number) =>
    can(standing, 'crl') && standing.crlNumber >= revision;
  return safeTry<OfferedRevocations & { readonly number: number }, CtrlExecError>(async function* () {
    let left = records;
    for (let round = 1; ; round += 1) {
      const identity = yield* readDispatcherIdentity(context);
      await parallel(left, settings.maxParallel, async (record) => {
        if (signal?.aborted || !can(record.standing, 'crl-offer')) return;
        const outcome = await reconcile(context, identity, { ...destinationOf(record), signal });
        if (outcome.isErr()) reasons.set(record.name, outcome.error.message);
      });
      yield* unlessAborted(signal);
      const number = yield* revocations.revision();
      const latest = yield* registry.list({ names: [...names] });
      left = latest.filter((record) => !isTold(record, number));
      if (number > identity.revision && round < maxRounds) continue;
      const told = latest.filter((record) => isTold(record, number)).map(({ name }) => name);
      const pending = left.map(({ name, standing }) => ({
        name,
        reason: can(standing, 'crl-offer')
          ? (reasons.get(name) ?? 'it did not acknowledge the revocation list')
          : takesNoList(),
      }));
      alarm(context, number, left);
      return ok({ told, pending, number });
    }
  });
}

/** Who is known to be pending, for each dispatcher, so that an alarm is raised when it begins. */
const alarmed = new WeakMap<DispatcherContext, { readonly number: number; readonly names: Set<string> }>();

/** Agents that are named in an event. */
const maxNamed = 10;

function alarm(context: DispatcherContext, number: number, left: readonly AgentRecord[]): void {
  const before = alarmed.get(context);
  const known = before?.number === number ? before.names : new Set<string>();
  const ours = left.filter(({ standing }) => can(standing, 'crl-offer')).map(({ name }) => name);
  alarmed.set(context, { number, names: new Set(ours) });
  if (ours.every((name) => known.has(name))) return;
  const hosts = ours.slice(0, maxNamed).join(',') + (ours.length > maxNamed ? ',…' : '');
  context.events.emit({
    action: 'revocations-pending',
    level: 'error',
    fields: { agents: ours.length, hosts, number },
  });
}

/** Offers the newest revocation list to every agent that has not acknowledged it. Where nobody is left, no agent is asked. */
export function offerRevocations(
  context: DispatcherContext,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ResultAsync<OfferedRevocations, CtrlExecError> {
  return safeTry<OfferedRevocations, CtrlExecError>(async function* () {
    const records = yield* context.registry.list();
    const pending = yield* pendingAmong(context, records);
    if (pending.size === 0) return ok({ told: [], pending: [] });
    const left = records.filter(({ name }) => pending.has(name));
    return pushRevocations(context, left, signal).map(({ told, pending: still }) => ({
      told,
      pending: still,
    }));
  });
}
