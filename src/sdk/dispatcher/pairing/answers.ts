import { fromHex } from '../../../domain/core/bytes.js';
import type { Answer } from '../../../domain/pairing/session.js';
import type { Outcome } from '../../protocol/endpoint.js';
import type { pairingAnswers } from '../../protocol/pairing-endpoints.js';

/** Seconds between two polls of an agent. */
const retryAfter = 2;

export type PairingOutcome = Outcome<typeof pairingAnswers>;

/** What a session answers, in the words of the endpoints. */
export function outcomeOf(given: Answer): PairingOutcome {
  switch (given.kind) {
    case 'nonce': {
      const { id, nonce, mac } = given;
      const session = fromHex(id) ?? new Uint8Array();
      return { outcome: 'nonce', v: 2, session, nonce, ...(mac && { mac }) };
    }
    case 'pending':
      return { outcome: 'pending', status: 'pending', retry_after: retryAfter };
    case 'denied':
      return { outcome: 'denied', status: 'denied', reason: given.reason };
    case 'approved':
      return { outcome: 'approved', status: 'approved', name: given.name, cert_pem: given.certificatePem };
    case 'ok':
      return { outcome: 'ok', status: 'ok' };
    case 'refused':
      return { outcome: given.refusal.code };
    case 'failed':
      return { outcome: 'internal' };
  }
}
