import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { KeyType } from '../../../domain/trust/certificate.js';
import type { SigningKey } from '../../../ports/crypto.js';
import type { AgentContext } from '../context.js';

/** The key that a host pairs with. */
export interface ChosenKey {
  /** PKCS#8 where it was made here. */
  readonly pem: string;
  readonly signing: SigningKey;
  /** Whether it was made for this pairing. */
  readonly fresh: boolean;
}

/** The key that is there, or another one where there is none or `fresh` is asked for. */
export function chooseKey(
  context: AgentContext,
  present: string | undefined,
  fresh: boolean,
  type: KeyType = 'p256',
): ResultAsync<ChosenKey, CtrlExecError> {
  return safeTry(async function* () {
    const made = present === undefined || fresh;
    const pem = made ? yield* context.crypto.generateKey(type) : present;
    return ok({ pem, signing: yield* context.crypto.signingKey(pem), fresh: made });
  });
}
