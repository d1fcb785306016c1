import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { Certificate } from '../domain/trust/certificate.js';
import type { RevocationList } from '../domain/trust/revocation-list.js';

/**
 * Reading of certificate revocation lists.
 *
 * Contract: exactly one PEM block `X509 CRL` (also `CRL`) of at most 16 MiB, version 2 with a cRLNumber, signed by one of
 * the given CAs with an algorithm of 2.1 (no MD5, no SHA-1); anything else is `certificate_invalid` with the reason. An
 * unknown critical extension, an indirect or partitioned list and a delta list are refused. Dates are not judged: an
 * old list never locks anybody out.
 */
export interface RevocationLists {
  /** Reads one list and checks what the contract says. RFC 5280, section 5. */
  read(
    pem: string,
    cas: readonly Certificate[],
  ): ResultAsync<RevocationList, CtrlExecError<'certificate_invalid'>>;
}
