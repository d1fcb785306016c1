import { err, ok, type Result } from 'neverthrow';
import { contains } from '../../../domain/core/ip-prefix.js';
import { type Certificate, dispatcherIdOf, whyUnusable } from '../../../domain/trust/certificate.js';
import type { ConnectionPeer } from '../../../ports/listener.js';
import type { Refusal } from '../../protocol/endpoint.js';
import type { EndpointName } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { Current } from './current.js';
import { dispatcherOf, isTheKnown } from './trust-lines.js';

export const notAllowed = 'not in allowed_ips';

export const isAllowed = ({ settings: { allowedIps } }: Current['state'], address: string): boolean =>
  allowedIps === undefined || contains(allowedIps, address);

export const isOfOurCas = (
  { crypto }: AgentContext,
  certificate: Certificate,
  cas: readonly Certificate[],
): boolean => cas.some((ca) => crypto.issuedBy(certificate, ca));

/**
 * The dispatcher that calls, or the refusal. Dates, revocation and CAs are judged for every request, for the connection may be older
 * than what has happened since. Without an id it has a good certificate of a dispatcher that is not trusted here: it may only prove
 * that it follows a trusted one.
 */
export function recognise(
  context: AgentContext,
  { state, identity }: Current,
  { certificate, address }: Pick<ConnectionPeer, 'certificate' | 'address'>,
  { path, endpoint }: { readonly path: string; readonly endpoint: EndpointName | undefined },
): Result<{ readonly id: string | undefined; readonly certificate: Certificate }, Refusal> {
  const serial = certificate?.serial ?? '';
  const refuse = (reason: string, refusal: Refusal = forbidden(reason)) => {
    const name = certificate?.commonName;
    context.events.emit({
      action: 'request-refused',
      level: 'warning',
      fields: { ip: address, path, serial, name, reason },
    });
    return err(refusal);
  };
  if (!isAllowed(state, address)) return refuse(notAllowed);
  // defence: written-serials-are-refused
  if (state.revoked.has(serial)) return refuse('certificate revoked');
  const unusable = certificate && whyUnusable(certificate, 'clientAuth', context.clock.now());
  if (unusable) return refuse(unusable, forbidden(`certificate ${unusable}`));
  // defence: request-is-of-our-ca
  if (certificate && !isOfOurCas(context, certificate, identity.authorities))
    return refuse('certificate of another CA');
  const acting = certificate ? dispatcherOf(context, state, certificate) : err('no certificate');
  if (certificate && acting.isOk()) return ok({ id: acting.value, certificate });
  if (
    certificate &&
    endpoint === 'serials' &&
    isDispatcher(certificate) &&
    isTheKnown(context, state, certificate)
  )
    return ok({ id: undefined, certificate });
  return refuse(
    state.lines.has(serial) && acting.isErr() ? `serial mismatch: ${acting.error}` : 'serial mismatch',
    endpoint === 'discovery' ? forbidden('forbidden') : mismatch,
  );
}

const forbidden = (error: string): Refusal => ({ refused: 'forbidden', error });

const isDispatcher = ({ uris }: Certificate) => uris.some((uri) => dispatcherIdOf(uri) !== undefined);

export const mismatch: Refusal = { ...forbidden('serial mismatch'), status: 'forbidden' };
