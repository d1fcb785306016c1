import { ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { type Compromised, formatRotation } from '../../../domain/trust/rotation.js';
import { parallel } from '../../core/parallel.js';
import { unlessAborted } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { destinationOf } from './destination.js';
import {
  type DispatcherIdentity,
  ownCertificates,
  type Presence,
  readDispatcherIdentity,
} from './identity.js';
import { takesNoList } from './legacy.js';
import { pushRevocations, type Untold } from './pending-revocations.js';
import { reconcile } from './reconcile/reconcile.js';
import { succession } from './reconcile/succession.js';
import { unrevoked } from './revoked.js';
import { exclusively, type Rotation } from './rotation.js';
import { issuePairingIdentity } from './setup.js';
import { validFor } from './validity.js';

/**
 * Replaces an identity whose key was stolen (wire-protocol 2.4): makes a new one, switches to it at once, destroys the keys of
 * the others, revokes every other certificate of this dispatcher that has not expired, and tells each agent both in one request.
 * Interrupted anywhere, also by its signal (`aborted`), a further call goes on with the identity that was made.
 */
export function rotateCompromised(
  context: DispatcherContext,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ResultAsync<Rotation, CtrlExecError> {
  return exclusively(context, () =>
    safeTry<Rotation, CtrlExecError>(async function* () {
      yield* unlessAborted(signal);
      const found = yield* readDispatcherIdentity(context);
      const begun = found.rotation.compromised;
      const goesOn = begun?.serial === found.own.current;
      if (!goesOn) yield* replaceAtOnce(context, found);
      const old = goesOn ? undefined : found;
      const done = yield* finish(context, signal, old);
      const identity = yield* readDispatcherIdentity(context);
      const before =
        identity.rotation.successions.find((step) => step.new === identity.own.current)?.old ?? '';
      const told = { acknowledged: [], pending: [], refused: [], ...done };
      return ok({ state: 'switched' as const, old: before, next: identity.own.current, ...told });
    }),
  );
}

/** Goes on with one that was interrupted, if there is one. */
export const finishCompromised = (
  context: DispatcherContext,
  signal: AbortSignal | undefined,
): ResultAsync<void, CtrlExecError> =>
  readDispatcherIdentity(context)
    .mapErr((error): CtrlExecError => error)
    .andThen(({ rotation }) =>
      rotation.compromised ? exclusively(context, () => finish(context, signal)) : okAsync(undefined),
    )
    .map(() => undefined);

/** The new identity in place of all others, and what is left to do beside it, in one change of the key store. */
function replaceAtOnce(
  context: DispatcherContext,
  identity: DispatcherIdentity,
): ResultAsync<void, CtrlExecError> {
  const { authority, clock, crypto, events, keyStore, registry, revocations, settings } = context;
  return safeTry<void, CtrlExecError>(async function* () {
    const key = yield* crypto.generateKey(settings.keyType);
    const { spki } = yield* crypto.signingKey(key);
    const profile = { kind: 'dispatcher', dispatcherId: settings.dispatcherId } as const;
    const certificate = yield* authority.issue(profile, spki, validFor(context, settings.certDays));
    const now = clock.now();
    const others = yield* ownCertificates(context, identity);
    const revoked = new Set((yield* revocations.current()).entries.map(({ serial }) => serial));
    const { rotation } = identity;
    const compromised: Compromised = {
      serial: certificate.serial,
      revoke: /* defence: compromised-identity-is-revoked */ [
        ...(rotation.compromised?.revoke ?? []),
        ...others.filter(
          ({ serial, notAfter = Number.POSITIVE_INFINITY }) => notAfter > now && !revoked.has(serial),
        ),
      ],
    };
    yield* keyStore.replace({
      'dispatcher-key': key,
      'dispatcher-certificate': certificate.pem,
      'dispatcher-next-key': null,
      'dispatcher-next-certificate': null,
      'dispatcher-previous-key': null,
      'dispatcher-previous-certificate': null,
      rotation: formatRotation({
        successions: [...rotation.successions, succession(context, identity, certificate)],
        announcedAt: undefined,
        switchedAt: now,
        compromised,
      }),
    });
    events.emit({
      action: 'rotation-switched',
      level: 'warning',
      fields: {
        serial: certificate.serial,
        was: identity.own.current,
        pending: (yield* registry.list()).length,
      },
    });
    return ok(undefined);
  });
}

type Finished = Pick<Rotation, 'acknowledged' | 'pending' | 'revoked' | 'number'>;

/** @param old the identity of before, as long as it is in memory: legacy agents learn the new serial from nobody else */
function finish(
  context: DispatcherContext,
  signal: AbortSignal | undefined,
  old?: DispatcherIdentity,
): ResultAsync<Finished | undefined, CtrlExecError> {
  const { clock, events, keyStore, registry, revocations, settings } = context;
  return safeTry<Finished | undefined, CtrlExecError>(async function* () {
    const identity = yield* readDispatcherIdentity(context);
    const { compromised } = identity.rotation;
    if (!compromised) return ok(undefined);
    const entries = compromised.revoke.map((each) => ({
      ...each,
      name: settings.dispatcherId,
      revokedAt: clock.now(),
    }));
    const { revision } = yield* revocations.add(entries);
    const revoked = entries.map(({ serial }) => serial);
    events.emit({
      action: 'revoked',
      level: 'warning',
      fields: { serials: revoked.join(','), host: undefined, number: revision },
    });
    // Its key lay beside the stolen one.
    yield* issuePairingIdentity(context);
    const records = yield* unrevoked(context, yield* registry.list());
    const legacy = yield* tellLegacy(context, { ...identity, previous: old }, records, signal);
    const { told, pending, number } = yield* pushRevocations(context, records, signal);
    const { rotation } = yield* readDispatcherIdentity(context);
    yield* keyStore.replace({ rotation: formatRotation({ ...rotation, compromised: undefined }) });
    const reasons = pending.map(({ name, reason }) => ({ name, reason: legacy.get(name) ?? reason }));
    return ok({ acknowledged: told, pending: reasons, revoked, number });
  });
}

/** Legacy agents are told by the identity that they trust. Why each is left. */
function tellLegacy(
  context: DispatcherContext,
  identity: DispatcherIdentity & { readonly previous: Presence | undefined },
  records: readonly AgentRecord[],
  signal: AbortSignal | undefined,
): ResultAsync<ReadonlyMap<string, Untold['reason']>, CtrlExecError> {
  return safeTry<ReadonlyMap<string, string>, CtrlExecError>(async function* () {
    const reasons = new Map<string, string>();
    const former = identity.rotation.compromised?.revoke.map(({ serial }) => serial).join(', ');
    const legacy = records.filter(({ standing }) => !can(standing, 'crl-offer'));
    await parallel(legacy, context.settings.maxParallel, async (record) => {
      if (signal?.aborted) return;
      const told = await reconcile(context, identity, { ...destinationOf(record), signal });
      const latest = await context.registry.find(record.name);
      const trusts = latest.isOk() && latest.value?.standing.serials.includes(identity.own.current);
      const state = trusts
        ? 'it was told the new serial'
        : `it was not told the new serial${told.isErr() ? ` (${told.error.message})` : ''}: pair it again`;
      reasons.set(record.name, `${state}; ${takesNoList(former)}`);
    });
    yield* unlessAborted(signal);
    return ok(reasons);
  });
}
