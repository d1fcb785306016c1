import { err, ok, okAsync, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { CertificateId } from '../../../domain/deploy/certificate-id.js';
import type { Crypto } from '../../../ports/crypto.js';
import type { PullSession } from './session.js';

/** A private key for a CSR, PEM. */
export interface CsrKey {
  readonly pem: string;
  /** `kept`: a certificate over it may have been asked for already, and may still come. */
  readonly origin: 'new' | 'kept';
}

/**
 * The key for the next CSR, on disk already. The one that is there is kept as long as the control plane has not issued a
 * certificate over it: another CSR over it may be under way, and its certificate would be of no use without it.
 */
export function keyForCsr(session: PullSession, id: CertificateId): ResultAsync<CsrKey, CtrlExecError> {
  const { api, context, keys, stop } = session;
  const fresh = () =>
    context.crypto
      .generateKey('p256', 'sec1')
      .mapErr((error): CtrlExecError => error)
      .andThrough((pem) => keys.put(id, pem))
      .map((pem): CsrKey => ({ pem, origin: 'new' }));

  return keys
    .load(id)
    .mapErr((error): CtrlExecError => error)
    .andThen(({ present }) => {
      const spki = present === undefined ? undefined : spkiOfP256(context.crypto, present);
      if (present === undefined || spki === undefined) return fresh();
      return api
        .certificates(id, stop)
        .map((pems) => pems.some((pem) => belongTogether(context.crypto, pem, spki)))
        .orElse((error) => (error.code === 'aborted' ? err(error) : ok(false)))
        .andThen((issued) =>
          issued ? fresh() : okAsync<CsrKey, CtrlExecError>({ pem: present, origin: 'kept' }),
        );
    });
}

/** The key that one of the certificates belongs to: the present one, or the one before it. */
export function keyOfCertificates(
  session: PullSession,
  id: CertificateId,
  pems: readonly string[],
): ResultAsync<{ readonly pem: string; readonly isPresent: boolean }, CtrlExecError> {
  const { crypto } = session.context;
  return session.keys
    .load(id)
    .mapErr((error): CtrlExecError => error)
    .andThen(({ present, former }) => {
      const fits = (pem: string | undefined): pem is string => {
        const key = pem === undefined ? undefined : crypto.signingKey(pem);
        if (key?.isOk() !== true) return false;
        const { spki } = key.value;
        return pems.some((each) => belongTogether(crypto, each, spki));
      };
      if (fits(present)) return ok({ pem: present, isPresent: true });
      if (fits(former)) return ok({ pem: former, isPresent: false });
      const reason =
        present === undefined
          ? `there is no private key of ${id} on this host`
          : `the private key of ${id} on this host does not belong to the certificate`;
      return err(failure('certificate_invalid', reason, { field: 'private key', reason }));
    });
}

/** SubjectPublicKeyInfo of a P-256 key; undefined for any other. */
const spkiOfP256 = (crypto: Crypto, pem: string): Uint8Array | undefined =>
  crypto
    .signingKey(pem)
    .map(({ algorithm, spki }) => (algorithm === 'ecdsa-p256-sha256' ? spki : undefined))
    .unwrapOr(undefined);

const belongTogether = (crypto: Crypto, certificatePem: string, spki: Uint8Array): boolean =>
  crypto
    .readCertificate(certificatePem)
    .map((certificate) => crypto.equal(certificate.spki, spki))
    .unwrapOr(false);
