import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { Pong } from '../../../domain/protocol/agent-messages.js';
import { can } from '../../../domain/trust/abilities.js';
import { worthKeeping } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { renewalDue } from '../../../domain/trust/lifecycle.js';
import type { DispatcherContext } from '../context.js';
import { destinationOf } from '../trust/destination.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { reconcile } from '../trust/reconcile/reconcile.js';
import { renewAgent } from '../trust/renewal.js';

/**
 * What a ping shows is acted on: a certificate that is due is renewed, a revocation list that an agent has lost is told
 * anew at the next contact, and one that this dispatcher has lost is fetched. That it fails is no failure of the ping; it is logged, and tried again.
 */
export function lookAfter(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  name: string,
  peer: Certificate,
  { crlNumber, features }: Pong,
): ResultAsync<void, never> {
  const { clock, registry } = context;
  return safeTry<void, CtrlExecError>(async function* () {
    const record = yield* registry.find(name);
    if (!record) return ok(undefined);
    const lists = crlNumber !== undefined && crlNumber !== record.standing.crlNumber && { crlNumber };
    const change = { ...lists, ...(features.length > 0 && { features }) };
    const { standing } = worthKeeping(record.standing, change) ? yield* registry.note(name, change) : record;
    // A list of before this state was restored from a backup: offered ours, the agent shows it.
    if (crlNumber !== undefined && crlNumber > identity.revision)
      yield* reconcile(context, identity, { ...destinationOf(record), record: { ...record, standing } });
    // A legacy agent counts connections: maintenance renews it.
    if (can(record.standing, 'frequent-requests') && renewalDue(peer, clock.now()))
      yield* renewAgent(context, identity, record);
    return ok(undefined);
  }).orElse(() => ok(undefined));
}
