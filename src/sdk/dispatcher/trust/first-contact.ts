import { okAsync, type ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { DispatcherContext } from '../context.js';
import { spkiDigest } from './agent-key.js';

/** The first answer of a freshly issued certificate makes its pin active. */
export function confirmed(
  context: DispatcherContext,
  { name, pins }: AgentRecord,
  peer: Certificate,
): ResultAsync<void, CtrlExecError<'agent_unknown' | 'store_failed'>> {
  const { clock, joinTokens, registry } = context;
  const digest = spkiDigest(context, peer);
  // Over the same key a certificate may follow another: it is the serial that tells them apart.
  const ofKey = pins.filter((pin) => pin.spkiSha256 === digest);
  const issued = ofKey.find(
    (pin) => pin.state === 'issued' && (ofKey.length === 1 || pin.serial === peer.serial),
  );
  if (!issued) return okAsync(undefined);
  return registry
    .activate(name, digest)
    .andThen(() =>
      issued.renewal ? okAsync(undefined) : joinTokens.burnBound(name, clock.now()).map(() => undefined),
    );
}
