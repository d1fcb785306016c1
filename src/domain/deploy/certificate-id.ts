import { err, ok, type Result } from 'neverthrow';
import { printable } from '../core/names.js';

declare const judged: unique symbol;

/** The id of a certificate at the control plane, fit to name a file. */
export type CertificateId = string & { readonly [judged]: true };

/** `^[A-Za-z0-9._-]{1,128}$`, not `.` and not `..`; the error is a reason. */
export function certificateId(text: string): Result<CertificateId, string> {
  if (/^[A-Za-z0-9._-]{1,128}$/.test(text) && text !== '.' && text !== '..') return ok(text as CertificateId);
  const expected = 'expected 1 to 128 letters, digits, ".", "_" or "-", and neither "." nor ".."';
  return err(`certificate_id "${printable(text, 60)}" cannot be used: ${expected}`);
}

/** The file that holds its private key, in the key directory. */
export const keyFileName = (id: CertificateId): string => `${id}.key`;
