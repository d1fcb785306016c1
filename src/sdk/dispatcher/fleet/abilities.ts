import { okAsync, type ResultAsync } from 'neverthrow';
import { maxCapabilitiesAnswer, readCapabilities } from '../../../domain/protocol/agent-protocol.js';
import type { Abilities } from '../../../domain/trust/agent-standing.js';
import type { DispatcherContext } from '../context.js';
import type { ContactError } from '../trust/agent-request.js';
import type { Addressed } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { exchange, recordFailed } from './contact.js';

/** What an agent says it can do, asked once and kept. */
export function abilitiesOf(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  signal: AbortSignal | undefined,
): ResultAsync<Pick<Abilities, 'features'>, ContactError> {
  const features = addressed.record?.standing.features;
  return features ? okAsync({ features }) : askAbilities(context, identity, addressed, signal);
}

/** What an agent says now that it can do; that is kept. */
export function askAbilities(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  signal?: AbortSignal,
): ResultAsync<Abilities, ContactError> {
  return exchange(context, identity, addressed, {
    method: 'GET',
    path: '/capabilities',
    answerTimeout: 10_000,
    maxAnswer: maxCapabilitiesAnswer,
    signal,
  }).andThen(({ answer, name }) =>
    readCapabilities(answer.status, answer.body)
      .mapErr((error): ContactError => error)
      .asyncAndThen(({ features, scripts }) => keepAbilities(context, name, features, scripts)),
  );
}

/** Notes what an agent has said about itself; what the store cannot take is logged. */
export function keepAbilities(
  context: DispatcherContext,
  name: string,
  features: readonly string[],
  scripts: readonly { readonly name: string; readonly concurrency?: number }[],
): ResultAsync<Abilities, never> {
  const several = scripts.flatMap((script) =>
    script.concurrency === undefined ? [] : [[script.name, script.concurrency] as const],
  );
  const abilities: Abilities = { features, concurrency: Object.fromEntries(several) };
  return context.registry
    .note(name, abilities)
    .map(() => abilities)
    .orElse((error) => {
      // An agent that is not registered has nothing to be noted in.
      if (error.code === 'store_failed') recordFailed(context, error.message);
      return okAsync(abilities);
    });
}

/** Runs of a script that an agent has said it allows at a time; undefined: it has not, and it is one. */
export function concurrencyOf({ record }: Addressed, script: string): number | undefined {
  const allowed = record?.standing.concurrency ?? {};
  return Object.hasOwn(allowed, script) ? allowed[script] : undefined;
}
