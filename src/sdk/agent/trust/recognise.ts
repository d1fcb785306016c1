import { err } from 'neverthrow';
import { contains } from '../../../domain/core/ip-prefix.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { type Certificate, dispatcherIdOf, whyUnusable } from '../../../domain/trust/certificate.js';
import type { IncomingRequest } from '../../../ports/listener.js';
import type { AgentContext } from '../context.js';
import type { Current } from '../served.js';
import type { AgentState } from '../state.js';
import { dispatcherOf, isTheKnown } from './trust-lines.js';

/** A dispatcher that has been recognised by its certificate. */
export interface CallingDispatcher {
  readonly id: string;
  readonly serial: string;
  readonly certificate: Certificate;
  readonly address: string;
  /** It did not sign this request, as legacy dispatchers. Default false. */
  readonly unsigned?: boolean;
}

/** Whoever has a good certificate of a dispatcher that is not trusted here: it may only prove that it follows a trusted one. */
export interface Stranger {
  readonly stranger: true;
  readonly serial: string;
  readonly certificate: Certificate;
  readonly address: string;
}

export const notAllowed = 'not in allowed_ips';

export const isAllowed = ({ settings: { allowedIps } }: AgentState, address: string): boolean =>
  allowedIps === undefined || contains(allowedIps, address);

export const isOfOurCas = (
  { crypto }: AgentContext,
  certificate: Certificate,
  cas: readonly Certificate[],
): boolean => cas.some((ca) => crypto.issuedBy(certificate, ca));

/**
 * The dispatcher that calls, or the refusal: before the body is read. Dates, revocation and CAs are judged for every
 * request, for the connection may be older than what has happened since.
 */
export function recognise(
  context: AgentContext,
  { state, identity }: Current,
  { method, peer, path }: IncomingRequest,
): CallingDispatcher | Stranger | HttpAnswer {
  const { certificate, address } = peer;
  const serial = certificate?.serial ?? '';
  const refuse = (reason: string, answer: HttpAnswer) => {
    const name = certificate?.commonName;
    context.events.emit({
      action: 'request-refused',
      level: 'warning',
      fields: { ip: address, path, serial, name, reason },
    });
    return answer;
  };
  if (!isAllowed(state, address)) return refuse(notAllowed, jsonAnswer(403, { error: notAllowed }));
  // defence: written-serials-are-refused
  if (state.revoked.has(serial))
    return refuse('certificate revoked', jsonAnswer(403, { error: 'certificate revoked' }));
  const unusable = certificate && whyUnusable(certificate, 'clientAuth', context.clock.now());
  if (unusable) return refuse(unusable, jsonAnswer(403, { error: `certificate ${unusable}` }));
  // defence: request-is-of-our-ca
  if (certificate && !isOfOurCas(context, certificate, identity.authorities))
    return refuse('certificate of another CA', jsonAnswer(403, { error: 'certificate of another CA' }));
  const acting = certificate ? dispatcherOf(context, state, certificate) : err('no certificate');
  if (certificate && acting.isOk()) return { id: acting.value, serial, certificate, address };
  if (
    certificate &&
    method === 'POST' &&
    path === '/rotate-serial' &&
    isDispatcher(certificate) &&
    isTheKnown(context, state, certificate)
  )
    return { stranger: true, serial, certificate, address };
  return refuse(
    state.lines.has(serial) && acting.isErr() ? `serial mismatch: ${acting.error}` : 'serial mismatch',
    path === '/capabilities' ? jsonAnswer(403, { error: 'forbidden' }) : mismatch(),
  );
}

const isDispatcher = ({ uris }: Certificate) => uris.some((uri) => dispatcherIdOf(uri) !== undefined);

export const mismatch = (): HttpAnswer => jsonAnswer(403, { error: 'serial mismatch', status: 'forbidden' });
