import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName } from '../../../domain/core/names.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { BannedKey } from '../../../domain/trust/banned-key.js';
import { serialReadings } from '../../../domain/trust/serial.js';
import { unlessAborted } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { type DispatcherIdentity, ownCertificates, readDispatcherIdentity } from './identity.js';
import { type OfferedRevocations, pushRevocations } from './pending-revocations.js';
import { unrevoked } from './revoked.js';

/** What was revoked, and who knows. */
export interface Revoked extends OfferedRevocations {
  /** Canonical. */
  readonly serials: readonly string[];
  /** Keys that are banned with them, SHA-256 of the SubjectPublicKeyInfo, lower-case hex; of an unknown certificate none. */
  readonly keys: readonly string[];
  /** The agent that they were issued to, if that is known. */
  readonly name: string | undefined;
  /** Number of the revocation list. */
  readonly number: number;
}

/**
 * Revokes every certificate of an agent, or one by its serial, and bans their keys (wire-protocol 2.4): refused by this dispatcher
 * at once, and by the agents as soon as they have the list, which is pushed to all of them. An agent that was unpaired is
 * meant by its name as well. What this dispatcher itself needs to be trusted cannot be revoked: `invalid_argument`. More than a list
 * can hold is `too_large`, and nothing is revoked. The signal ends the telling (`aborted`); what is revoked stays so, and every
 * agent gets the list at the next contact.
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
    const asked = yield* meant(context, identity, nameOrSerial);
    yield* notNeeded(identity, asked);
    const { name, certificates, byName: everyPin } = asked;
    const at = clock.now();
    const { revision: number, pins } = yield* revocations.revoke({
      entries: certificates.map(({ serial, notAfter }) => ({ serial, name, revokedAt: at, notAfter })),
      keys: certificates.flatMap(({ spkiSha256 }) =>
        spkiSha256 === undefined || name === undefined ? [] : [{ spkiSha256, name, bannedAt: at }],
      ),
      // What a renewal that is under way has pinned is revoked as well; one that comes later is refused: its key is banned.
      ...{ agent: name, everyPin, at },
    });
    const all: readonly Meant[] = [...certificates, ...pins];
    const serials = [...new Set(all.map(({ serial }) => serial))];
    const keys = [...new Set(all.flatMap(({ spkiSha256 }) => spkiSha256 ?? []))];
    events.emit({
      action: 'revoked',
      level: 'warning',
      fields: { serials: serials.join(','), host: name, number },
    });
    // With those that are revoked nobody speaks any more.
    const records = yield* unrevoked(context, yield* registry.list());
    const pushed = yield* pushRevocations(context, records, signal).mapErr((error) =>
      error.code === 'aborted' ? failure('aborted', stopped, {}) : error,
    );
    return ok({ serials, keys, name, ...pushed });
  });
}

const stopped =
  'stopped by the caller; revoked all the same: agents that were not told get the list at the next contact';

const invalid = (reason: string, message = reason, field = 'serial'): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', message, { field, reason });

/** A certificate, as far as it is known. */
interface Meant {
  readonly serial: string;
  readonly notAfter?: number | undefined;
  readonly spkiSha256?: string;
}

interface Asked {
  readonly name: string | undefined;
  readonly certificates: readonly Meant[];
  /** The agent was named, and so whatever it has is meant. */
  readonly byName: boolean;
}

function notNeeded({ own, authorities }: DispatcherIdentity, { certificates }: Asked) {
  const needed = certificates.find(({ serial }) => serial === own.current || serial === own.next);
  if (needed !== undefined)
    return err(
      invalid(
        `${needed.serial} is the serial of this dispatcher: use rotate-cert, then revoke the old one; where its key was stolen, rotate-cert --compromised does both`,
      ),
    );
  const ofCa = authorities.find((ca) => certificates.some(({ serial }) => serial === ca.serial));
  return ofCa === undefined
    ? ok(undefined)
    : err(invalid(`${ofCa.serial} is the serial of the CA: use rotate-ca`));
}

/** The certificates of an agent that is or was registered, or the readings of a serial as people write it. */
function meant(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  text: string,
): ResultAsync<Asked, CtrlExecError> {
  const { clock, registry, revocations } = context;
  return safeTry<Asked, CtrlExecError>(async function* () {
    const name = agentName(text).unwrapOr(undefined);
    const registered = name === undefined ? undefined : yield* registry.find(name);
    if (registered) {
      if (registered.pins.length > 0)
        return ok({ name: registered.name, certificates: registered.pins, byName: true });
      const reason = `${registered.name} is unpinned, its certificate is not known: revoke it by its serial, or unpair it`;
      return err(invalid(reason, reason, 'name'));
    }
    const former = name === undefined ? [] : yield* revocations.issued({ name });
    const valid = former.filter(({ notAfter }) => notAfter > clock.now());
    if (valid.length > 0) return ok({ name, certificates: valid, byName: true });
    const readings = serialReadings(text);
    if (readings.length === 0) {
      const reason = 'expected the name of a registered agent, or a serial such as 1a2b or 1A:2B';
      return err(invalid(reason, `nothing to revoke: ${reason}`));
    }
    const known = yield* knownBySerial(context, identity, readings, yield* registry.list());
    const certificates = readings.map((serial) => known.find((each) => each.serial === serial) ?? { serial });
    return ok({ name: known.find((each) => each.name !== undefined)?.name, certificates, byName: false });
  });
}

/** What is known of certificates of these serials: pins, former pins, and this dispatcher's own. */
function knownBySerial(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  serials: readonly string[],
  records: readonly AgentRecord[],
): ResultAsync<readonly (Meant & { readonly name?: string })[], CtrlExecError> {
  return safeTry<readonly (Meant & { readonly name?: string })[], CtrlExecError>(async function* () {
    const wanted = ({ serial }: { readonly serial: string }) => serials.includes(serial);
    const pinned = records.flatMap(({ name, pins }) => pins.filter(wanted).map((pin) => ({ ...pin, name })));
    const issued = [];
    for (const serial of serials) issued.push(...(yield* context.revocations.issued({ serial })));
    const own = (yield* ownCertificates(context, identity)).filter(wanted);
    const others = issued.filter((each) => !own.some(({ serial }) => serial === each.serial));
    return ok([...pinned, ...own, ...others]);
  });
}

/**
 * Lifts the ban of a key, so that it may be paired again; its certificates stay revoked. A key that is not banned is
 * `invalid_argument`.
 * @param key SHA-256 of its SubjectPublicKeyInfo as hex, in either case, with or without colons
 */
export function unban(
  { events, revocations }: DispatcherContext,
  key: string,
): ResultAsync<BannedKey, CtrlExecError> {
  const spkiSha256 = key.trim().replaceAll(':', '').toLowerCase();
  return revocations
    .unban(spkiSha256)
    .mapErr((error): CtrlExecError => error)
    .andThen((banned) => {
      if (banned === undefined) {
        const reason = 'this key is not banned; without a key, unban lists those that are';
        return err(invalid(reason, reason, 'key'));
      }
      const { name } = banned;
      events.emit({ action: 'key-unbanned', level: 'warning', fields: { key: spkiSha256, name } });
      return ok(banned);
    });
}
