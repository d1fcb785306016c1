import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import {
  type AgentStanding,
  knownSerialState,
  type SerialState,
  serialState,
} from '../../../domain/trust/agent-standing.js';
import { whyUnusable } from '../../../domain/trust/certificate.js';
import { overlapEnd, rotationDue } from '../../../domain/trust/lifecycle.js';
import { formatRotation } from '../../../domain/trust/rotation.js';
import { parallel } from '../../core/parallel.js';
import { unlessAborted } from '../../core/wait.js';
import { isStranger } from '../../protocol/reading.js';
import type { DispatcherContext } from '../context.js';
import { destinationOf } from './destination.js';
import { holding } from './holding.js';
import { type DispatcherIdentity, readDispatcherIdentity } from './identity.js';
import { pairAgain } from './legacy.js';
import { pendingAmong, type Untold } from './pending-revocations.js';
import { sameCa } from './reconcile/authorities.js';
import { reconcile } from './reconcile/reconcile.js';
import { succession } from './reconcile/succession.js';
import { meet } from './reconcile/update.js';
import { unrevoked } from './revoked.js';
import { validFor } from './validity.js';

/** How a rotation stands. */
export interface Rotation {
  /** `waiting`: announced, but agents that answer refused it. */
  readonly state: 'switched' | 'waiting';
  /** Serial of the identity that was in use. */
  readonly old: string;
  readonly next: string;
  /** Agents that trust the next serial. */
  readonly acknowledged: readonly string[];
  /** Agents that could not be reached: they are told when they come back. */
  readonly pending: readonly Untold[];
  /** Agents that answered, and did not take it. */
  readonly refused: readonly Untold[];
  /** Serials that were revoked with it; only where the identity was compromised. */
  readonly revoked?: readonly string[];
  /** Number of the revocation list that they are on. */
  readonly number?: number;
}

/** Whatever replaces this dispatcher's identity or its CA, one at a time. */
export const exclusively = <T>(
  context: DispatcherContext,
  work: () => ResultAsync<T, CtrlExecError>,
): ResultAsync<T, CtrlExecError> =>
  holding(context, 'identity', work).mapErr((error) =>
    error.code === 'held' && error.what === 'identity'
      ? {
          ...error,
          message: `another command (${error.by}) is replacing the identity or the CA of this dispatcher`,
        }
      : error,
  );

/**
 * Replaces the dispatcher's key and certificate (wire-protocol 2.4): makes the next identity, or goes on with one that was
 * announced before; tells every agent; and switches once each that can be reached has acknowledged it. Interrupted
 * anywhere, also by its signal (`aborted`), a further call goes on. `insist`: switch although agents refused.
 */
export function rotate(
  context: DispatcherContext,
  options: { readonly insist?: boolean; readonly signal?: AbortSignal | undefined } = {},
): ResultAsync<Rotation, CtrlExecError> {
  return exclusively(context, () =>
    safeTry<Rotation, CtrlExecError>(async function* () {
      yield* unlessAborted(options.signal);
      const identity = yield* announced(context);
      const { next } = identity;
      if (!next)
        return err(failure('crypto_failed', 'no next identity', { operation: 'rotate', reason: 'gone' }));
      const told = yield* await tellAgents(context, identity, options.signal);
      // Agents that were not asked must not be taken for agents that cannot be reached.
      yield* unlessAborted(options.signal);
      const rotation = {
        old: identity.certificate.serial,
        next: next.certificate.serial,
        ...told,
      };
      if (told.refused.length > 0 && !options.insist && !isUrgent(context, identity)) {
        context.events.emit({
          action: 'rotation-waits',
          level: 'warning',
          fields: { next: rotation.next, refused: told.refused.length },
        });
        return ok({ ...rotation, state: 'waiting' as const });
      }
      yield* switchTo(context, identity);
      context.events.emit({
        action: 'rotation-switched',
        fields: {
          serial: rotation.next,
          was: rotation.old,
          pending: told.pending.length + told.refused.length,
        },
      });
      return ok({ ...rotation, state: 'switched' as const });
    }),
  );
}

/** Half of the time that a rotation has is over: whoever still refuses is left behind. */
function isUrgent({ clock, settings }: DispatcherContext, { certificate }: DispatcherIdentity): boolean {
  return rotationDue(certificate, settings.certRenewalDays / 2, clock.now());
}

/** The identity with the next one beside it, made and stored if there was none. */
function announced(context: DispatcherContext): ResultAsync<DispatcherIdentity, CtrlExecError> {
  const { authority, clock, crypto, events, keyStore, settings } = context;
  return safeTry<DispatcherIdentity, CtrlExecError>(async function* () {
    const identity = yield* readDispatcherIdentity(context);
    // One that has expired while it waited, or was made by a clock that was ahead, is of no use to anybody.
    if (identity.next && whyUnusable(identity.next.certificate, 'clientAuth', clock.now()) === undefined)
      return ok(identity);
    const key = yield* crypto.generateKey(settings.keyType);
    const { spki } = yield* crypto.signingKey(key);
    const profile = { kind: 'dispatcher', dispatcherId: settings.dispatcherId } as const;
    const certificate = yield* authority.issue(profile, spki, validFor(context, settings.certDays));
    const step = succession(context, identity, certificate);
    const { rotation } = identity;
    yield* keyStore.replace({
      'dispatcher-next-key': key,
      'dispatcher-next-certificate': certificate.pem,
      rotation: formatRotation({
        ...rotation,
        successions: [...rotation.successions, step],
        announcedAt: clock.now(),
      }),
    });
    events.emit({
      action: 'rotation-announced',
      fields: { serial: identity.certificate.serial, next: certificate.serial },
    });
    return readDispatcherIdentity(context);
  });
}

/** The next identity takes over; the present one is kept for the overlap. */
function switchTo(
  { clock, keyStore }: DispatcherContext,
  { credentials, next, rotation }: DispatcherIdentity,
): ResultAsync<void, CtrlExecError> {
  if (!next) return keyStore.replace({}).mapErr((error): CtrlExecError => error);
  return keyStore
    .replace({
      'dispatcher-key': next.credentials.key,
      'dispatcher-certificate': next.credentials.certificate,
      'dispatcher-previous-key': credentials.key,
      'dispatcher-previous-certificate': credentials.certificate,
      'dispatcher-next-key': null,
      'dispatcher-next-certificate': null,
      rotation: formatRotation({ ...rotation, announcedAt: undefined, switchedAt: clock.now() }),
    })
    .mapErr((error): CtrlExecError => error);
}

/** Tells every agent; who trusts the next serial afterwards is what counts, whatever else went wrong. */
async function tellAgents(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  signal: AbortSignal | undefined,
): Promise<ResultOf<Pick<Rotation, 'acknowledged' | 'pending' | 'refused'>>> {
  const listed = await context.registry.list().andThen((records) => unrevoked(context, records));
  if (listed.isErr()) return err(listed.error);
  const acknowledged: string[] = [];
  const pending: Untold[] = [];
  const refused: Untold[] = [];
  // Whoever is to trust a certificate of another CA must accept that first; what else it has against a set of CAs can wait.
  const { certificate, next } = identity;
  const ofPresentCa = next !== undefined && sameCa(context, identity, next.certificate, certificate);
  await parallel(listed.value, context.settings.maxParallel, async (record) => {
    if (signal?.aborted) return;
    const { name } = record;
    const told = await reconcile(context, identity, { ...destinationOf(record), signal });
    const latest = await context.registry.find(name);
    const standing = latest.isOk() ? latest.value?.standing : record.standing;
    // It was unpaired meanwhile.
    if (!standing) return;
    if (!ofPresentCa && !can(standing, 'several-cas')) {
      pending.push({ name, reason: pairAgain });
      return;
    }
    if (
      serialState(standing, identity.own) === 'current' &&
      (ofPresentCa || standing.caSet === identity.caSet)
    ) {
      acknowledged.push(name);
      const reason = told.isOk() ? await whyNotInUse(context, identity, record, standing) : undefined;
      if (reason !== undefined) pending.push({ name, reason });
    } else if (told.isErr() && !answered(told.error, standing))
      pending.push({ name, reason: told.error.message });
    else
      refused.push({ name, reason: told.isErr() ? told.error.message : 'it did not take the next serial' });
  });
  return ok({ acknowledged, pending, refused });
}

/**
 * What stands between a legacy agent that has just been told the next serial and its use: many end at a reload, others take it
 * into use only when they are started again. Undefined: nothing.
 */
async function whyNotInUse(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  record: AgentRecord,
  standing: AgentStanding,
): Promise<string | undefined> {
  const { next } = identity;
  const known = next && record.standing.serials.includes(next.certificate.serial);
  if (can(standing, 'successions') || !next || known) return undefined;
  const met = await meet(context, { ...identity, ...next }, destinationOf(record));
  if (met.isOk()) return undefined;
  if (met.error.code === 'connection_refused')
    return 'it took the serial and stopped, as legacy agents do: start it again';
  return isStranger(met.error)
    ? 'it has stored the serial, and takes it into use when it is started again'
    : met.error.message;
}

type ResultOf<T> = Result<T, CtrlExecError>;

/** Whether an agent answered, and so has something against what it was told. One that is revoked is not waited for. */
const answered = ({ code }: CtrlExecError, standing: AgentStanding): boolean =>
  code === 'refused' ||
  code === 'unverified' ||
  code === 'protocol_violation' ||
  // A legacy agent that has had enough connections is there, and says nothing.
  (code === 'connection_failed' && !can(standing, 'polling'));

/** Gives up the identity before the present one once the overlap has ended. */
export function retirePrevious(context: DispatcherContext): ResultAsync<void, CtrlExecError> {
  const { events, keyStore, registry } = context;
  return exclusively(context, () =>
    safeTry<void, CtrlExecError>(async function* () {
      const identity = yield* readDispatcherIdentity(context);
      const kept = yield* keyStore.read(['dispatcher-previous-certificate']);
      const pem = kept['dispatcher-previous-certificate'];
      if (identity.previous || pem === undefined) return ok(undefined);
      yield* keyStore.replace({ 'dispatcher-previous-key': null, 'dispatcher-previous-certificate': null });
      const { serial } = yield* context.crypto.readCertificate(pem);
      const records = yield* registry.list();
      const stale = records.filter(({ standing }) => serialState(standing, identity.own) === 'stale').length;
      events.emit({ action: 'rotation-retired', fields: { serial, stale } });
      return ok(undefined);
    }),
  );
}

/** How an agent stands to this dispatcher's serials. */
export interface AgentSerials {
  readonly name: string;
  readonly state: SerialState;
  /** Serials of this dispatcher that it trusts, as far as is known. */
  readonly serials: readonly string[];
  /** Epoch milliseconds of its last answer. */
  readonly lastContact: number | undefined;
  /** Since when it lacks a revocation, epoch milliseconds. Undefined: it has acknowledged the newest list, or takes none. */
  readonly revocationsPendingSince: number | undefined;
}

/** The dispatcher's serials, and how each agent stands to them. */
export interface SerialStatus {
  readonly current: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  readonly next: string | undefined;
  readonly previous: string | undefined;
  /** When the previous one is given up, epoch milliseconds. */
  readonly overlapEnds: number | undefined;
  readonly agents: readonly AgentSerials[];
}

export function serialStatus(context: DispatcherContext): ResultAsync<SerialStatus, CtrlExecError> {
  const { certOverlapDays } = context.settings;
  return safeTry<SerialStatus, CtrlExecError>(async function* () {
    const { own, certificate, rotation, previous } = yield* readDispatcherIdentity(context);
    const records = yield* context.registry.list();
    const pending = yield* pendingAmong(context, records);
    const { switchedAt } = rotation;
    return ok({
      ...own,
      notAfter: certificate.notAfter,
      overlapEnds: previous && switchedAt !== undefined ? overlapEnd(switchedAt, certOverlapDays) : undefined,
      agents: records.map(({ name, standing }) => ({
        name,
        state: knownSerialState(standing, own),
        serials: standing.serials,
        lastContact: standing.lastContact,
        revocationsPendingSince: pending.get(name),
      })),
    });
  });
}
