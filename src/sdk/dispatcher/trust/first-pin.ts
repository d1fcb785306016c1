import { errAsync, type ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { TransportError } from '../../../ports/transport.js';
import type { DispatcherContext } from '../context.js';
import { describe, spkiDigest } from './agent-key.js';

/** Whether a certificate of the CA names this host (wire-protocol 2.1); a legacy one has nothing but its common name. */
function names({ commonName, dnsNames }: Certificate, { endpoint }: AgentRecord): boolean {
  const host = endpoint.host.toLowerCase();
  const named = dnsNames.length > 0 ? dnsNames : [commonName ?? ''];
  return named.some((name) => name.toLowerCase() === host);
}

/**
 * Pins the key of an agent that was taken over from another installation, at its first contact: if its certificate names the
 * recorded host, or an operator says so (`whoever`). Else `unpinned`, and nothing is sent.
 * @param by.own this side's certificate: under a legacy CA any certificate may answer, this one too
 */
export function pinFirst(
  context: DispatcherContext,
  record: AgentRecord,
  peer: Certificate,
  by: { readonly own: Certificate; readonly whoever: boolean },
): ResultAsync<void, TransportError> {
  const { crypto, events, registry } = context;
  const { name, endpoint } = record;
  const found = describe(peer);
  const refuse = (reason: string): ResultAsync<void, TransportError> =>
    errAsync(failure('unpinned', `${name} is unpinned: ${reason}; nothing was sent`, { name, found }));
  if (crypto.equal(peer.spki, by.own.spki))
    return refuse('what answers there has the key of this dispatcher');
  // defence: first-pin-is-of-recorded-host
  if (!by.whoever && !names(peer, record))
    return refuse(
      `the certificate that answers is of ${found}, not of ${endpoint.host}: if it is the right host, run edit-agent ${name} --pin`,
    );
  const spkiSha256 = spkiDigest(context, peer);
  const { serial, notAfter, notBefore: issuedAt } = peer;
  return registry
    .pin(name, { spkiSha256, serial, notAfter, issuedAt })
    .map(() =>
      events.emit({ action: 'agent-pinned', level: 'warning', fields: { host: name, serial, found } }),
    )
    .orElse((error) =>
      error.code === 'store_failed'
        ? errAsync(error)
        : refuse(`the key that answers cannot be pinned: ${error.message}`),
    );
}
