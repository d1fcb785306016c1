import { err, ok, type Result } from 'neverthrow';
import { base64url, fromBase64url } from '../core/bytes.js';
import { type CtrlExecError, failure } from '../core/errors.js';

/** What a join token says: whom it names, and a secret that only its holder and the dispatcher know (wire-protocol 2.2). */
export interface JoinToken {
  /** 8 bytes, sent in the open. */
  readonly id: Uint8Array;
  /** 32 bytes, never sent. */
  readonly secret: Uint8Array;
}

/** `cxj2.<id>.<secret>`, base64url. */
export const formatJoinToken = ({ id, secret }: JoinToken): string =>
  `cxj2.${base64url(id)}.${base64url(secret)}`;

/** Reads a token; the error does not repeat it. */
export function parseJoinToken(text: string): Result<JoinToken, CtrlExecError<'invalid_argument'>> {
  const [label, idText = '', secretText = '', ...rest] = text.trim().split('.');
  const id = fromBase64url(idText);
  const secret = fromBase64url(secretText);
  if (label === 'cxj2' && rest.length === 0 && id?.length === 8 && secret?.length === 32)
    return ok({ id, secret });
  const reason = 'not a join token: cxj2.<id>.<secret> is expected, as join-token printed it';
  return err(failure('invalid_argument', `--join: ${reason}`, { field: 'join', reason }));
}

/** What the dispatcher keeps of a token: enough to recognise its holder, for one host, once. */
export interface JoinTokenRecord {
  /** 16 lower-case hex digits. */
  readonly id: string;
  /** Registry name of the one host that may use it. */
  readonly name: string;
  /** HKDF-SHA256 of the secret, 64 hex digits. A secret: never logged, never shown. */
  readonly key: string;
  /** SHA-256 of the CSR's DER that it is bound to, hex, or `takenBack`; undefined before its first use. */
  readonly boundTo: string | undefined;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** Epoch milliseconds at which the host was paired with it; undefined before. */
  readonly burntAt: number | undefined;
}

/** What a token is bound to that nobody may use any more: no digest, so that no CSR has it. */
export const takenBack = 'taken back';

/** Why this host cannot begin with the token; undefined when it can. */
export function whyNotUsable(
  token: JoinTokenRecord | undefined,
  name: string,
  now: number,
): string | undefined {
  if (!token) return 'unknown token';
  if (token.boundTo === takenBack) return 'the token was taken back';
  if (token.burntAt !== undefined) return 'the token was used already';
  if (now >= token.expiresAt) return 'the token has expired';
  return token.name === name ? undefined : `the token is for ${token.name}`;
}
