import { base64url } from '../../../../domain/core/bytes.js';
import type { Certificate } from '../../../../domain/trust/certificate.js';
import { authorities } from '../../../protocol/endpoints.js';
import type { DispatcherContext } from '../../context.js';
import type { DispatcherIdentity } from '../identity.js';
import { type Acknowledged, acknowledged, note, ownFailure, type Update } from './update.js';

/** The CAs that the agent is to accept. */
export function updateAuthorities(context: DispatcherContext, update: Update): Acknowledged {
  const { cas, caSet } = update.identity;
  return (
    context.authority
      .endorsement()
      .mapErr(ownFailure(update))
      .andThen((endorsement) =>
        acknowledged(context, update, authorities, {
          pems: cas,
          endorsements: endorsement ? [base64url(endorsement)] : [],
        }),
      )
      // A list of a CA that is not accepted any more goes with it.
      .andThen(() => note(context, update, { caSet, crlNumber: 0 }))
  );
}

/** Whether one of the CAs in force issued all of these. */
export const sameCa = (
  { crypto }: DispatcherContext,
  { authorities: inForce }: DispatcherIdentity,
  ...certificates: readonly Certificate[]
): boolean => inForce.some((ca) => certificates.every((certificate) => crypto.issuedBy(certificate, ca)));
