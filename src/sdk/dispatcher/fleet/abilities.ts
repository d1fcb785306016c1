import { ok, okAsync, type ResultAsync } from 'neverthrow';
import type { Capabilities } from '../../../domain/protocol/agent-messages.js';
import type { Abilities } from '../../../domain/trust/agent-standing.js';
import type { CallError, CallOptions } from '../../protocol/client.js';
import { discovery } from '../../protocol/endpoints.js';
import type { DispatcherContext } from '../context.js';
import type { Addressed } from '../trust/destination.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { recordFailed } from '../trust/record-failed.js';
import { type Contact, contact } from './contact.js';

/** What an agent says of itself; what it says that it can do is kept. What the store cannot take is logged. */
export function askAbilities(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  options: CallOptions,
): ResultAsync<Contact<typeof discovery.answers>, CallError> {
  return contact(context, identity, addressed, discovery, {}, options).andThen((called) =>
    context.registry
      .note(called.name, abilitiesIn(called.answer))
      .map(() => called)
      .orElse((error) => {
        // An agent that is not registered has nothing to be noted in.
        if (error.code === 'store_failed') recordFailed(context, error.message);
        return ok(called);
      }),
  );
}

/** What an agent can do, in its own words. */
export function abilitiesIn({ features, scripts }: Pick<Capabilities, 'features' | 'scripts'>): Abilities {
  const several = scripts.flatMap(({ name, concurrency }) =>
    concurrency === undefined ? [] : [[name, concurrency] as const],
  );
  return { features, concurrency: Object.fromEntries(several) };
}

/** Features of an agent: those that are known, or else it is asked. */
export function featuresOf(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  options: CallOptions,
): ResultAsync<readonly string[], CallError> {
  const known = addressed.record?.standing.features;
  return known
    ? okAsync(known)
    : askAbilities(context, identity, addressed, options).map(({ answer }) => answer.features);
}

/** Runs of a script that an agent has said it allows at a time; undefined: it has not, and it is one. */
export function concurrencyOf({ record }: Addressed, script: string): number | undefined {
  const allowed = record?.standing.concurrency ?? {};
  return Object.hasOwn(allowed, script) ? allowed[script] : undefined;
}
