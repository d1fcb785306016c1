import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { CertificateId } from '../domain/deploy/certificate-id.js';

type KeyResult<T> = ResultAsync<T, CtrlExecError<'file_failed'>>;

/**
 * Private keys of a pull agent, by the id of the certificate. Beside the present key of a certificate its former one
 * stays until it is forgotten: the certificate over it may have to be deployed once more.
 *
 * Contract: a key is readable by its owner only, from the first byte on; what is written would survive a power cut, and at
 * any moment either the old or the new key is there, whole. Keys are found where they are put, never by way of a link.
 */
export interface PullKeys {
  /** Makes the place ready: its own directory, closed to everybody else. The answer is the mode that was too wide, if it was. */
  prepare(): KeyResult<{ readonly tightenedFrom: number | undefined }>;
  /** PEM, as it was put; undefined when there is none. */
  load(
    id: CertificateId,
  ): KeyResult<{ readonly present: string | undefined; readonly former: string | undefined }>;
  /** Puts a key (PEM) in place; the one that was there becomes the former one. */
  put(id: CertificateId, pem: string): KeyResult<void>;
  /** Forgets the former key, if there is one. */
  forgetFormer(id: CertificateId): KeyResult<void>;
}
