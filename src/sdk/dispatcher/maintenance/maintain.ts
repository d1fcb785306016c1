import { err, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord, KeyPin } from '../../../domain/trust/agent-record.js';
import { knownSerialState } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { renewalDue, rotationDue } from '../../../domain/trust/lifecycle.js';
import { parallel } from '../../core/parallel.js';
import { unlessAborted } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { purgeRuns } from '../runs/retention.js';
import { finishCompromised } from '../trust/compromised.js';
import { destinationOf } from '../trust/destination.js';
import { holding } from '../trust/holding.js';
import { type DispatcherIdentity, readDispatcherIdentity, underPreviousCa } from '../trust/identity.js';
import { pairAgain } from '../trust/legacy.js';
import type { Untold } from '../trust/pending-revocations.js';
import { isUpToDate, reconcile } from '../trust/reconcile/reconcile.js';
import { meet } from '../trust/reconcile/update.js';
import { renewAgent } from '../trust/renewal.js';
import { dropLapsed, unrevoked } from '../trust/revoked.js';
import { exclusively, type Rotation, retirePrevious, rotate } from '../trust/rotation.js';
import { issuePairingIdentity } from '../trust/setup.js';

/** What a maintenance pass did. */
export interface Maintenance {
  /** The rotation of this dispatcher's identity, if one was due or under way. */
  readonly rotation: Rotation | undefined;
  /** Agents with a new certificate. */
  readonly renewed: readonly string[];
  /** Agents that were told something that they had missed. */
  readonly told: readonly string[];
  /** Agents that could not be renewed or told; the next pass tries again. */
  readonly failed: readonly Untold[];
  /** Agents that have yet to learn of the present serial, and those that only follow by a chain of successions. */
  readonly pending: readonly string[];
  readonly stale: readonly string[];
  /** The CA before the present one was given up. */
  readonly caRetired: boolean;
  /** Enrolments that nobody completed within a day. */
  readonly lapsed: readonly string[];
}

/** How a maintenance pass goes; all of it may be left out. */
export interface MaintainOptions {
  /** Gives up, as `aborted`; what was begun is left consistent. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the pass is `held` while another one with this option goes on, also of another process. Default false. */
  readonly alone?: boolean;
}

/**
 * One maintenance pass (wire-protocol 2.4): rotates the dispatcher's identity when that is due or was begun, gives up the one
 * before it when the overlap has ended, tells agents what they have missed, renews their certificates when less than half
 * of their lifetime remains, goes on with the replacement of a CA, and forgets runs and enrolments of long ago. Whatever fails of it is
 * in the outcome and tried again by the next pass. Ended by the signal it is `aborted`: what was done of it stands, and the next pass
 * goes on.
 */
export function maintain(
  context: DispatcherContext,
  { signal, alone = false }: MaintainOptions = {},
): ResultAsync<Maintenance, CtrlExecError> {
  return alone ? holding(context, 'maintain', () => pass(context, signal)) : pass(context, signal);
}

function pass(
  context: DispatcherContext,
  signal: AbortSignal | undefined,
): ResultAsync<Maintenance, CtrlExecError> {
  const { clock, events, registry, settings } = context;
  return safeTry<Maintenance, CtrlExecError>(async function* () {
    yield* unlessAborted(signal);
    yield* unlessLocked(finishCompromised(context, signal));
    const before = yield* readDispatcherIdentity(context);
    const [ca] = before.authorities;
    const ofOldCa = ca !== undefined && !context.crypto.issuedBy(before.certificate, ca);
    const due =
      before.next !== undefined ||
      ofOldCa ||
      rotationDue(before.certificate, settings.certRenewalDays, clock.now());
    // That one of these fails (a full disk, say) must not keep agents from being renewed: it is the error at the end.
    const rotated = due
      ? await unlessLocked(rotate(context, { signal }))
      : ok<Rotation | undefined>(undefined);
    yield* unlessAborted(signal);
    const retired = await unlessLocked(retirePrevious(context));
    const pairing = await renewPairing(context, ca);

    const visited = yield* visit(
      context,
      yield* readDispatcherIdentity(context),
      yield* registry.list(),
      signal,
    );
    yield* unlessAborted(signal);
    // Last: whoever was reached meanwhile has not lapsed.
    const lapsed = yield* dropLapsed(context);
    yield* purgeRuns(context);
    const caRetired = (yield* unlessLocked(retireCa(context))) ?? false;
    const identity = yield* readDispatcherIdentity(context);
    if (caRetired) yield* visit(context, identity, yield* registry.list(), signal);
    yield* unlessAborted(signal);
    const rotation = yield* rotated;
    yield* Result.combine([retired, pairing]);
    const states = (yield* registry.list()).map(({ name, standing }) => ({
      name,
      state: knownSerialState(standing, identity.own),
    }));
    const named = (wanted: string) => states.flatMap(({ name, state }) => (state === wanted ? [name] : []));
    const outcome = {
      ...visited,
      rotation,
      lapsed,
      caRetired,
      pending: named('pending'),
      stale: named('stale'),
    };
    events.emit({
      action: 'maintained',
      fields: {
        renewed: outcome.renewed.length,
        failed: outcome.failed.length,
        pending: outcome.pending.length,
        stale: outcome.stale.length,
      },
    });
    return ok(outcome);
  });
}

/** What another process is doing at this moment need not be done here. */
const unlessLocked = <T>(work: ResultAsync<T, CtrlExecError>): ResultAsync<T | undefined, CtrlExecError> =>
  work.orElse((error) => (error.code === 'held' ? ok(undefined) : err(error)));

/** The pairing port's certificate concerns no agent: it is simply made anew. */
function renewPairing(
  context: DispatcherContext,
  ca: Certificate | undefined,
): ResultAsync<void, CtrlExecError> {
  return safeTry<void, CtrlExecError>(async function* () {
    const { 'pairing-certificate': pem } = yield* context.keyStore.read(['pairing-certificate']);
    if (pem === undefined) return ok(undefined);
    const certificate = yield* context.crypto.readCertificate(pem);
    const ofFormerCa = ca !== undefined && !context.crypto.issuedBy(certificate, ca);
    if (ofFormerCa || renewalDue(certificate, context.clock.now())) yield* issuePairingIdentity(context);
    return ok(undefined);
  });
}

/** Speaks with every agent that has missed something, or whose certificate is due. */
function visit(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  records: readonly AgentRecord[],
  signal: AbortSignal | undefined,
): ResultAsync<Pick<Maintenance, 'renewed' | 'told' | 'failed'>, CtrlExecError> {
  const { clock, settings } = context;
  return safeTry<Pick<Maintenance, 'renewed' | 'told' | 'failed'>, CtrlExecError>(async function* () {
    const ofOldCa = new Set(underPreviousCa(identity, records).map(({ name }) => name));
    const renewed: string[] = [];
    const told: string[] = [];
    const failed: Untold[] = [];
    await parallel(yield* unrevoked(context, records), settings.maxParallel, async (record) => {
      if (signal?.aborted) return;
      const agent = { ...destinationOf(record), signal };
      const { name, pins, standing } = record;
      const atOnce = can(standing, 'renewal-at-once');
      if (!atOnce && ofOldCa.has(name)) {
        failed.push({ name, reason: pairAgain });
        return;
      }
      const inUse = atOnce ? pins.find(({ state }) => state === 'active') : latestOf(pins);
      const dueForRenewal =
        ofOldCa.has(name) ||
        (inUse && renewalDue({ notBefore: inUse.issuedAt, notAfter: inUse.notAfter }, clock.now()));
      if (dueForRenewal) {
        const outcome = await renewAgent(context, identity, record, { ...(signal && { signal }) });
        if (outcome.isOk()) renewed.push(name);
        // Somebody else is at it.
        else if (outcome.error.code !== 'held') failed.push({ name, reason: outcome.error.message });
      } else if (!isUpToDate(identity, standing)) {
        const outcome = await reconcile(context, identity, agent);
        if (outcome.isOk()) told.push(name);
        else failed.push({ name, reason: outcome.error.message });
      } else if (pins.some(({ state }) => state === 'issued')) {
        // It has told nobody that it installed its certificate: that it answers says as much.
        const outcome = await meet(context, identity, agent);
        if (outcome.isErr()) failed.push({ name, reason: outcome.error.message });
      }
    });
    return ok({ renewed: renewed.sort(), told: told.sort(), failed });
  });
}

/** The last certificate that an agent was given: a legacy one puts it into use when it is restarted. */
const latestOf = (pins: readonly KeyPin[]): KeyPin | undefined =>
  pins.toSorted((a, b) => b.notAfter - a.notAfter)[0];

/**
 * Gives the CA before the present one up once no certificate of it is needed: of no agent, and of this dispatcher neither its
 * identity nor the one that it keeps for the overlap. One that has expired is of no use to anybody.
 */
function retireCa(context: DispatcherContext): ResultAsync<boolean, CtrlExecError> {
  const { authority, clock, crypto, events, registry } = context;
  return exclusively(context, () =>
    safeTry<boolean, CtrlExecError>(async function* () {
      const identity = yield* readDispatcherIdentity(context);
      const [current, previous] = identity.authorities;
      if (!current || !previous) return ok(false);
      const records = yield* unrevoked(context, yield* registry.list());
      const needing = underPreviousCa(identity, records, ['active', 'issued']);
      const behind = records.some(({ standing }) => standing.caSet !== identity.caSet);
      const ofPrevious = [identity, identity.next, identity.previous].some(
        (presence) => presence && !crypto.issuedBy(presence.certificate, current),
      );
      const expired = previous.notAfter < clock.now();
      if (!expired && (needing.length > 0 || behind || ofPrevious)) return ok(false);
      yield* authority.retirePrevious().mapErr((error): CtrlExecError => error);
      events.emit({ action: 'ca-retired', level: 'warning', fields: { serial: previous.serial } });
      return ok(true);
    }),
  );
}
