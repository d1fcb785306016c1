import { fromHex } from '../../../domain/core/bytes.js';
import { pairingErrors, writePairingMessage } from '../../../domain/pairing/messages.js';
import type { Answer } from '../../../domain/pairing/session.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';

/** Seconds between two polls of an agent. */
const retryAfter = 2;

export const answer = (status: number, message: Readonly<Record<string, unknown>>): HttpAnswer => ({
  ...jsonAnswer(status, {}),
  body: new TextEncoder().encode(writePairingMessage(message)),
});

/** What a session answers, as it travels. */
export function answerOf(given: Answer): HttpAnswer {
  switch (given.kind) {
    case 'nonce':
      return answer(200, { v: 2, session: fromHex(given.id), nonce: given.nonce, mac: given.mac });
    case 'pending':
      return answer(202, { status: 'pending', retry_after: retryAfter });
    case 'denied':
      return answer(403, { status: 'denied', reason: given.reason });
    case 'approved':
      return answer(200, { status: 'approved', name: given.name, cert_pem: given.certificatePem });
    case 'ok':
      return answer(200, { status: 'ok' });
    case 'refused': {
      const { code } = given.refusal;
      return code === 'expired'
        ? answer(410, { status: 'expired' })
        : answer(pairingErrors[code], { status: 'error', error: code });
    }
    case 'failed':
      return answer(500, { status: 'error', error: 'internal' });
  }
}
