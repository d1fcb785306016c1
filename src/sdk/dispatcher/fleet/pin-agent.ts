import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName } from '../../../domain/core/names.js';
import type { KeyPin } from '../../../domain/trust/agent-record.js';
import type { DispatcherContext } from '../context.js';
import { destinationOf } from '../trust/destination.js';
import { loadIdentity } from '../trust/identity.js';
import { meet } from '../trust/reconcile/update.js';
import { unknown } from './registered-agents.js';

/** An agent whose key has just been pinned. */
export interface PinnedAgent {
  readonly name: string;
  readonly pin: KeyPin;
}

/**
 * Pins the key of whoever answers where an unpinned agent is registered, whatever its certificate names: an operator has made sure
 * that it is the right host. It must chain to the CA, be in date and not be revoked, and the key must be nobody else's.
 */
export function pinAgent(context: DispatcherContext, name: string): ResultAsync<PinnedAgent, CtrlExecError> {
  const { registry } = context;
  return safeTry<PinnedAgent, CtrlExecError>(async function* () {
    const known = yield* agentName(name);
    const record = yield* registry.find(known);
    if (!record) return unknown(context, known);
    if (!record.adopted) {
      const reason = `${known} has a pinned key already: another one comes by pairing`;
      return err(failure('invalid_argument', `--pin: ${reason}`, { field: 'pin', reason }));
    }
    const identity = yield* loadIdentity(context);
    const agent = { ...destinationOf(record), pinWhoever: true };
    const met = await meet(context, identity, agent);
    const pin = (yield* registry.find(known))?.pins.find(({ state }) => state === 'active');
    // What it says to a ping is another matter; its key is known.
    if (pin) return ok({ name: known, pin });
    yield* met;
    return unknown(context, known);
  });
}
