import { err, ok } from 'neverthrow';
import { type Codec, textIn } from '../../domain/core/decode.js';
import { printable } from '../../domain/core/names.js';
import { maxPairingBody, type PairingErrorCode, pairingMessage } from '../../domain/pairing/messages.js';
import { type Answer, endpoint, type Issue } from './endpoint.js';

/*
 * What an agent can ask of the pairing port (wire-protocol 2.2). Nobody knows the other yet.
 */

type ErrorCode = PairingErrorCode | 'internal';

const refusing = (status: number, code: ErrorCode): Answer<object> => ({
  status,
  codec: {
    read: ({ error }) => (error === code ? ok({}) : err(`"error" is not "${code}"`)),
    write: () => ({ status: 'error', error: code }),
  },
});

/** Whatever the body is: what somebody says who is no pairing port of version 2. */
const words: Codec<{ readonly reason?: string | undefined }> = {
  read(body) {
    const reason = textIn(body, 'error') ?? textIn(body, 'reason');
    return ok(reason === undefined ? {} : { reason: printable(reason, 200) });
  },
  write: ({ reason }) => ({ status: 'error', error: 'not_found', reason }),
};

/** A dispatcher of version 1 says so of a message that it does not know: version 2 calls its errors `error`. */
const version1Error: typeof words = {
  ...words,
  read: (body) =>
    body['status'] === 'error' && typeof body['reason'] === 'string' && !('error' in body)
      ? words.read(body)
      : err('it is no error of version 1'),
};

const errors = {
  invalid: refusing(400, 'invalid'),
  join_refused: refusing(403, 'join_refused'),
  unknown_session: refusing(404, 'unknown_session'),
  name_registered: refusing(409, 'name_registered'),
  expired: {
    status: 410,
    codec: {
      read: ({ status }) => (status === 'expired' ? ok({}) : err('"status" is not "expired"')),
      write: () => ({ status: 'expired' }),
    } satisfies Codec<object>,
  },
  too_large: refusing(413, 'too_large'),
  queue_full: refusing(429, 'queue_full'),
  internal: refusing(500, 'internal'),
} as const;

const shared = {
  method: 'POST',
  malformed: (_: Issue) => ({ outcome: 'invalid' }) as const,
  maxRequest: maxPairingBody,
  maxAnswer: maxPairingBody,
} as const;

/** M1, and M2. */
export const start = endpoint({
  ...shared,
  path: '/pair/v2/start',
  request: pairingMessage('start'),
  says: /* What an agent understands of M2. */ ['ctrl-exec-pair-features', 'ca-endorsements'],
  answers: {
    started: { status: 201, codec: pairingMessage('started') },
    ...errors,
    /** Either host was too busy to ask in time. */
    slow: { status: 408, codec: words },
    version1: { status: 200, codec: version1Error },
    absent: { status: 404, codec: words },
  },
});

/** M3, and M4. */
export const nonce = endpoint({
  ...shared,
  path: '/pair/v2/nonce',
  request: pairingMessage('nonce'),
  answers: { nonce: { status: 200, codec: pairingMessage('nonce') }, ...errors },
});

/** M5, repeated as a poll. */
export const confirm = endpoint({
  ...shared,
  path: '/pair/v2/confirm',
  request: pairingMessage('signed'),
  answers: {
    approved: { status: 200, codec: pairingMessage('approved') },
    pending: { status: 202, codec: pairingMessage('pending') },
    denied: { status: 403, codec: pairingMessage('denied') },
    ...errors,
  },
});

/** M6. */
export const installed = endpoint({
  ...shared,
  path: '/pair/v2/installed',
  request: pairingMessage('signed'),
  answers: { ok: { status: 200, codec: pairingMessage('ok') }, ...errors },
});

/** Every answer of the port, for who gives them: no two outcomes of one name differ. */
export const pairingAnswers = {
  ...start.answers,
  ...nonce.answers,
  ...confirm.answers,
  ...installed.answers,
};
