import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { whyUnusable } from '../../../domain/trust/certificate.js';
import type { CallError } from '../../protocol/client.js';
import type { DispatcherContext } from '../context.js';
import type { AskedBy } from './destination.js';

/*
 * What only legacy agents need (wire-protocol 1.2, 2.4).
 */

/** Why a legacy agent is left behind when the CA is replaced. */
export const pairAgain = 'a legacy agent does not learn of another CA: pair it again';

/** What a person does for a legacy agent. */
export const takesNoList = (serials = 'the serial'): string =>
  `a legacy agent takes no revocation list: write ${serials} into its revoked-serials and restart it`;

/**
 * Why the handshake would fail that many legacy agents do not survive. They accept one CA: one whose certificates are older than
 * ours does not know ours.
 */
export function whyItWouldRefuse(
  { clock, crypto }: DispatcherContext,
  { certificate, cas }: AskedBy,
  { pins, standing }: AgentRecord,
): string | undefined {
  if (can(standing, 'frequent-requests')) return undefined;
  const unusable = whyUnusable(certificate, 'clientAuth', clock.now());
  if (unusable !== undefined)
    return `the certificate of this dispatcher ${unusable}: a legacy agent would refuse it, and may end by that; pair it again`;
  const issuer = cas
    .map((pem) => crypto.readCertificate(pem).unwrapOr(undefined))
    .find((ca) => ca && crypto.issuedBy(certificate, ca));
  const older = pins.length > 0 && pins.every(({ issuedAt }) => issuer && issuedAt < issuer.notBefore);
  return older ? pairAgain : undefined;
}

/** A legacy agent that has had enough only closes the connection; people must learn what that may mean. */
export function whyClosed(error: CallError): CallError {
  if (error.code !== 'connection_failed') return error;
  const causes =
    'a legacy agent that was asked 10 times within a minute closes connections from this host for 5 minutes; it also closes where a script ended without reading its input: that one has run';
  return { ...error, message: `${error.message} (${causes})` };
}
