import { okAsync, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
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
  const spkiSha256 = spkiDigest(context, peer);
  // Over the same key a certificate may follow another: it is the serial that tells them apart.
  const ofKey = pins.filter((pin) => pin.spkiSha256 === spkiSha256);
  const issued = ofKey.some(
    (pin) => pin.state === 'issued' && (ofKey.length === 1 || pin.serial === peer.serial),
  );
  if (!issued) return okAsync(undefined);
  return context.pairing
    .activate({ name, spkiSha256, at: context.clock.now() })
    .map(() => undefined)
    .mapErr((error) =>
      // A key that was banned meanwhile, or of a join token whose name another key has taken: it is nobody's.
      error.code === 'agent_exists' || error.code === 'key_banned'
        ? failure('agent_unknown', error.message, { name })
        : error,
    );
}
