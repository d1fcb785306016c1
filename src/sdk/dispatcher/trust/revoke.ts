import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName } from '../../../domain/core/names.js';
import { serialReadings } from '../../../domain/trust/serial.js';
import { parallel } from '../../core/parallel.js';
import { unlessAborted } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { destinationOf } from './agent-target.js';
import { readDispatcherIdentity } from './identity.js';
import { tellAll } from './reconcile/catch-up.js';
import { unrevoked } from './revoked.js';
import type { Untold } from './rotation.js';

/** What was revoked, and who knows. */
export interface Revoked {
  /** Canonical. */
  readonly serials: readonly string[];
  /** The agent that they were issued to, if it is registered. */
  readonly name: string | undefined;
  /** Number of the revocation list. */
  readonly number: number;
  readonly told: readonly string[];
  /** Agents that get the list at the next contact. */
  readonly pending: readonly Untold[];
}

/**
 * Revokes every certificate of an agent, or one by its serial (wire-protocol 2.4): refused by this dispatcher at once, and by
 * the agents as soon as they have the list, which is pushed to all of them. What this dispatcher itself needs to be trusted
 * cannot be revoked: `invalid_argument`. The signal ends the telling (`aborted`); what is revoked stays so, and every agent gets the list at
 * the next contact.
 */
export function revoke(
  context: DispatcherContext,
  nameOrSerial: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ResultAsync<Revoked, CtrlExecError> {
  const { clock, events, registry, revocations } = context;
  return safeTry<Revoked, CtrlExecError>(async function* () {
    yield* unlessAborted(signal);
    const identity = yield* readDispatcherIdentity(context);
    const asked = yield* meant(context, nameOrSerial);
    const { name } = asked;
    const { own } = identity;
    const needed = asked.serials.find((serial) => serial === own.current || serial === own.next);
    if (needed !== undefined) {
      const reason = `${needed} is the serial of this dispatcher: use rotate-cert, then revoke the old one`;
      return err(failure('invalid_argument', reason, { field: 'serial', reason }));
    }
    const ofCa = identity.authorities.find(({ serial }) => asked.serials.includes(serial));
    if (ofCa !== undefined) {
      const reason = `${ofCa.serial} is the serial of the CA: use rotate-ca`;
      return err(failure('invalid_argument', reason, { field: 'serial', reason }));
    }
    const revokedAt = clock.now();
    const add = (serials: readonly string[]) =>
      revocations.add(serials.map((serial) => ({ serial, name, revokedAt })));
    let { revision: number } = yield* add(asked.serials);
    // A renewal that was under way has pinned what it is about to hand out, or hands out nothing: its agent is revoked now.
    const { serials: since } = asked.byName ? yield* meant(context, nameOrSerial) : asked;
    const serials = [...new Set([...asked.serials, ...since])];
    if (serials.length > asked.serials.length) number = (yield* add(serials)).revision;
    events.emit({
      action: 'revoked',
      level: 'warning',
      fields: { serials: serials.join(','), host: name, number },
    });
    // Nobody asks it any more how a script ended there.
    if (name !== undefined && asked.byName) yield* context.runStore.release(name, undefined, clock.now());
    const latest = yield* readDispatcherIdentity(context);
    const told: string[] = [];
    const pending: Untold[] = [];
    // With those that are revoked nobody speaks any more.
    const records = yield* unrevoked(context, yield* registry.list());
    await parallel(records, context.settings.maxParallel, async (record) => {
      if (signal?.aborted) return;
      const agent = { ...destinationOf(record), signal };
      if (record.standing.speaks === 'unsigned') {
        pending.push({ name: record.name, reason: noLists });
        return;
      }
      const outcome = await tellAll(context, latest, agent);
      if (outcome.isOk()) told.push(record.name);
      else pending.push({ name: record.name, reason: outcome.error.message });
    });
    if (signal?.aborted)
      return err(failure('aborted', `stopped by the caller; revoked all the same: ${theOthers}`, {}));
    return ok({ serials, name, number, told: told.sort(), pending });
  });
}

const theOthers = 'agents that were not told get the list at the next contact';

const noLists =
  'a legacy agent takes no revocation list: write the serial into its revoked-serials and restart it';

interface Meant {
  readonly name: string | undefined;
  readonly serials: readonly string[];
  /** The agent was named, and so whatever it has is meant. */
  readonly byName: boolean;
}

/** The serials of a registered agent, or the readings of a serial as people write it. */
function meant({ registry }: DispatcherContext, text: string): ResultAsync<Meant, CtrlExecError> {
  return safeTry<Meant, CtrlExecError>(async function* () {
    const name = agentName(text);
    const record = name.isOk() ? yield* registry.find(name.value) : undefined;
    if (record) {
      const serials = [...new Set(record.pins.map(({ serial }) => serial))];
      if (serials.length === 0) {
        const reason = `${record.name} is unpinned, its certificate is not known: revoke it by its serial, or unpair it`;
        return err(failure('invalid_argument', reason, { field: 'name', reason }));
      }
      return ok({ name: record.name, serials, byName: true });
    }
    const serials = serialReadings(text);
    if (serials.length === 0) {
      const reason = 'expected the name of a registered agent, or a serial such as 1a2b or 1A:2B';
      return err(failure('invalid_argument', `nothing to revoke: ${reason}`, { field: 'serial', reason }));
    }
    const owner = (yield* registry.list()).find(({ pins }) =>
      pins.some(({ serial }) => serials.includes(serial)),
    );
    return ok({ name: owner?.name, serials, byName: false });
  });
}
