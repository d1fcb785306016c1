import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { RevocationList } from '../../../domain/trust/revocation-list.js';
import type { DispatcherContext } from '../context.js';
import type { DispatcherIdentity } from './identity.js';
import { recordFailed } from './record-failed.js';

const day = 86_400_000;

/** Lists are in force until the next one, whatever they say; other readers of CRLs want a date. */
const listDays = 365;

/** The agents that have a key and a certificate which are not revoked, or none that is known yet. */
export function unrevoked(
  { revocations }: DispatcherContext,
  records: readonly AgentRecord[],
): ResultAsync<readonly AgentRecord[], CtrlExecError<'store_failed'>> {
  return revocations.current().andThen(({ entries }) =>
    revocations.bannedKeys().map((keys) => {
      const revoked = new Set(entries.map(({ serial }) => serial));
      const banned = new Set(keys.map(({ spkiSha256 }) => spkiSha256));
      return records.filter(
        ({ adopted, pins }) =>
          adopted || pins.some((pin) => !revoked.has(pin.serial) && !banned.has(pin.spkiSha256)),
      );
    }),
  );
}

/** Milliseconds for which an issued certificate waits to be seen (wire-protocol 2.2). */
const enrolmentLife = day;

/** Whoever took no certificate within a day: it is revoked, and what is remembered of it goes. Ok: their names. */
export function dropLapsed(
  context: DispatcherContext,
): ResultAsync<readonly string[], CtrlExecError<'store_failed'>> {
  const { clock, registry, revocations } = context;
  const now = clock.now();
  return safeTry<readonly string[], CtrlExecError<'store_failed'>>(async function* () {
    const before = now - enrolmentLife;
    // Revoked first: interrupted in between, they lapse the next time.
    const entries = (yield* registry.list()).flatMap(({ name, pins }) =>
      pins
        .filter((pin) => pin.state === 'issued' && !pin.renewal && pin.issuedAt < before)
        .map(({ serial, notAfter }) => ({ serial, name, revokedAt: now, notAfter })),
    );
    if (entries.length > 0)
      yield* revocations.add(entries).orElse((error) => {
        if (error.code === 'store_failed') return err(error);
        // Without its pin nobody speaks with the key all the same.
        recordFailed(context, error.message);
        return ok(undefined);
      });
    const dropped = yield* registry.dropStaleEnrolments(before);
    return ok(dropped.map(({ name }) => name));
  });
}

interface Made {
  readonly revision: number;
  readonly caSet: string;
  readonly lists: readonly RevocationList[];
}

/** The last lists of each dispatcher: they are asked for by every agent that has missed them. */
const made = new WeakMap<DispatcherContext, Made>();

/** The revocation lists of the present revision, one for each CA in force, the current one first. */
export function listsAt(
  context: DispatcherContext,
  { authorities, caSet }: Pick<DispatcherIdentity, 'authorities' | 'caSet'>,
): ResultAsync<readonly RevocationList[], CtrlExecError> {
  const { authority, clock, revocations, settings } = context;
  return safeTry<readonly RevocationList[], CtrlExecError>(async function* () {
    const { revision, entries: revoked } = yield* revocations.current();
    const last = made.get(context);
    if (last?.revision === revision && last.caSet === caSet) return ok(last.lists);
    const issuers = authorities.length > 1 ? (['current', 'previous'] as const) : (['current'] as const);
    const thisUpdate = clock.now();
    const content = {
      dispatcherId: /* defence: list-names-its-dispatcher */ settings.dispatcherId,
      number: revision,
      revoked,
      thisUpdate,
      nextUpdate: thisUpdate + listDays * day,
    };
    const lists: RevocationList[] = [];
    for (const issuer of issuers) lists.push(yield* authority.revocationList(content, issuer));
    made.set(context, { revision, caSet, lists });
    return ok(lists);
  });
}
