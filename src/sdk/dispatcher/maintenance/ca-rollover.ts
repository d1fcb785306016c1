import { err, errAsync, ok, okAsync, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { unlessAborted, wait } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { readDispatcherIdentity, underPreviousCa } from '../trust/identity.js';
import { exclusively } from '../trust/rotation.js';
import { issuePairingIdentity } from '../trust/setup.js';
import { backdate, caDays, validFor } from '../trust/validity.js';
import { type Maintenance, maintain } from './maintain.js';

/** Milliseconds that issuing a certificate may take. */
const grace = 2000;

/** How the replacement of the CA stands. */
export interface CaRollover {
  /** SHA-256 of the present CA's DER, lower-case hex. */
  readonly fingerprint: string;
  /** Agents whose certificate is still of the CA before it. Empty: that CA is given up when the overlap has ended. */
  readonly remaining: readonly string[];
  readonly maintenance: Maintenance;
}

/**
 * Replaces the CA without visiting an agent (wire-protocol 2.4): makes a new one, tells agents to accept both, issues every
 * certificate anew, and gives the old one up when nothing is of it any more. What cannot be done at once, maintenance goes
 * on with, also after the signal (`aborted`); a further call goes on as well. Legacy agents accept one CA and are lost by this: while there are some, it is
 * `refused` without `insist`.
 */
export function rotateCa(
  context: DispatcherContext,
  options: { readonly insist?: boolean; readonly signal?: AbortSignal | undefined } = {},
): ResultAsync<CaRollover, CtrlExecError> {
  const { authority, clock, crypto, events, registry } = context;
  // Certificates carry whole seconds, and another process may be about to issue one by the old CA: neither must pass for
  // one of the new.
  const from = Math.ceil(clock.now() / 1000) * 1000 + grace;
  return safeTry<CaRollover, CtrlExecError>(async function* () {
    yield* unlessAborted(options.signal);
    if (!options.insist) yield* noneIsLost(yield* registry.list());
    yield* exclusively(context, () =>
      authority
        .succeed({ ...validFor(context, caDays), notBefore: from - backdate })
        .mapErr((error): CtrlExecError => error)
        .andThen((ca) => wait(context.clock, from + 1 - context.clock.now()).map(() => ca))
        .andThen((ca) => {
          const fingerprint = hex(crypto.sha256(ca.der));
          events.emit({
            action: 'ca-succeeded',
            level: 'warning',
            fields: { serial: ca.serial, fingerprint },
          });
          return issuePairingIdentity(context);
        })
        // One that is under way is gone on with.
        .orElse((error) => (error.code === 'ca_exists' ? okAsync(undefined) : errAsync(error))),
    );
    const maintenance = yield* maintain(context, options);
    const identity = yield* readDispatcherIdentity(context);
    const [current] = identity.authorities;
    const fingerprint = current ? hex(crypto.sha256(current.der)) : '';
    const remaining = underPreviousCa(identity, yield* registry.list()).map(({ name }) => name);
    return ok({ fingerprint, remaining, maintenance });
  });
}

/** Agents that are shown in a message. */
const maxNamed = 10;

function noneIsLost(records: readonly AgentRecord[]): Result<void, CtrlExecError<'refused'>> {
  const legacy = records.filter(({ standing }) => !can(standing, 'several-cas')).map(({ name }) => name);
  if (legacy.length === 0) return ok(undefined);
  const named = legacy.slice(0, maxNamed).join(', ') + (legacy.length > maxNamed ? ', …' : '');
  return err(
    failure(
      'refused',
      `legacy agents, or agents that were not seen yet, would have to be paired again: ${named}. Move or unpair them first (--force goes on all the same)`,
      { status: 0, reason: 'legacy agents' },
    ),
  );
}
