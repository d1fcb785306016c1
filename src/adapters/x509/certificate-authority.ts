import { err, ok, Result, ResultAsync } from 'neverthrow';
import { type Certificate, type CertificateProfile, profileNames } from '../../domain/certificate.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import type { CertificateAuthority, Validity } from '../../ports/certificate-authority.js';
import type { Crypto } from '../../ports/crypto.js';
import type { KeyStore, KeyStoreContents } from '../../ports/key-store.js';
import type { Random } from '../../ports/random.js';
import { type CertificatePeriod, certificatePeriod, newSerial } from './certificate-fields.js';
import { signCa, signIssued } from './certificate-signing.js';
import { derBlocks } from './pem.js';
import { acceptableKey, exportSpki } from './public-key.js';

interface Issuer {
  readonly keyPem: string;
  readonly certificate: Certificate;
}

/** Current one first. */
type CaSet = Result<readonly [Certificate, ...Certificate[]], CtrlExecError<'certificate_invalid'>>;

type Unissuable = CtrlExecError<'ca_missing' | 'certificate_invalid'>;

const invalid = (field: string, reason: string) =>
  failure('certificate_invalid', `${field} cannot be used: ${reason}`, { field, reason });

const failed = (operation: string) => (error: unknown) => {
  const reason = error instanceof Error ? error.message : String(error);
  return failure('crypto_failed', `cannot ${operation}: ${reason}`, { operation, reason });
};

const missing = (keyStore: KeyStore) =>
  failure(
    'ca_missing',
    `there is no CA: expected ${keyStore.location('ca-certificate')} and ${keyStore.location('ca-key')}`,
    {},
  );

/** The CA of a key store, with @peculiar/x509 on WebCrypto. */
export const x509CertificateAuthority = (ports: {
  keyStore: KeyStore;
  random: Random;
  crypto: Crypto;
}): CertificateAuthority => {
  const { keyStore, random, crypto } = ports;

  const readCas = (pem: string): CaSet => {
    const where = keyStore.location('ca-certificate');
    const blocks = derBlocks(pem, ['CERTIFICATE']) ?? [];
    return Result.combine(blocks.map((der) => crypto.readCertificate(der)))
      .mapErr(({ reason }) => invalid(where, reason))
      .andThen(([first, ...others]): CaSet => {
        if (!first) return err(invalid(where, 'expected one or more PEM blocks CERTIFICATE'));
        const leaf = [first, ...others].find(({ isCa }) => !isCa);
        if (leaf) return err(invalid(where, `the certificate with serial ${leaf.serial} is not of a CA`));
        return ok([first, ...others]);
      });
  };

  /** Who issues now: the first certificate of the set, and the key, which must belong to it. */
  const readIssuer = (items: KeyStoreContents<'ca-key' | 'ca-certificate'>): Result<Issuer, Unissuable> => {
    const keyPem = items['ca-key'];
    const caPem = items['ca-certificate'];
    if (keyPem === undefined || caPem === undefined) return err(missing(keyStore));
    const where = keyStore.location('ca-key');
    return readCas(caPem).andThen(([certificate]) =>
      crypto
        .signingKey(keyPem)
        .mapErr(({ reason }) => invalid(where, reason))
        .andThen(({ spki }) =>
          crypto.equal(spki, certificate.spki)
            ? ok({ keyPem, certificate })
            : err(invalid(where, 'it is not the key of the CA certificate')),
        ),
    );
  };

  /** Reads back what was signed: nothing is handed out or stored that would not be accepted. */
  const readBack = (der: Uint8Array, issuer?: Certificate) =>
    crypto
      .readCertificate(der)
      .mapErr(({ reason }) => reason)
      .andThen((certificate) =>
        crypto.issuedBy(certificate, issuer ?? certificate)
          ? ok(certificate)
          : err('what was signed does not verify'),
      )
      .mapErr(failed('sign a certificate'));

  const selfSigned = (keyPem: string, period: CertificatePeriod, serial: string) =>
    ResultAsync.fromPromise(signCa(keyPem, period, serial), failed('sign the CA certificate'))
      .andThen((der) => readBack(der))
      .map((certificate) => ({ keyPem, certificate }));

  const create = (validity: Validity) =>
    Result.combine([certificatePeriod(validity), newSerial(random)])
      .mapErr(failed('make a CA certificate'))
      .asyncAndThen(([period, serial]) =>
        crypto.generateKey('p384').andThen((keyPem) => selfSigned(keyPem, period, serial)),
      )
      .andThen(({ keyPem, certificate }) =>
        keyStore
          .replace({ 'ca-key': keyPem, 'ca-certificate': certificate.pem }, { onlyIfAbsent: true })
          .mapErr((error) => {
            if (error.code !== 'identity_exists') return error;
            const path = keyStore.location('ca-key');
            return failure('ca_exists', `there is a CA already, it is not overwritten: ${path}`, { path });
          })
          .map(() => certificate),
      );

  const certificates = () =>
    keyStore.read(['ca-certificate']).andThen((items) => {
      const pem = items['ca-certificate'];
      return pem === undefined ? err(missing(keyStore)) : readCas(pem);
    });

  const issue = (profile: CertificateProfile, spki: Uint8Array, validity: Validity) =>
    keyStore
      .read(['ca-key', 'ca-certificate'])
      .andThen(readIssuer)
      .andThen(({ keyPem, certificate: ca }) => {
        const publicKey = acceptableKey(spki)
          .map(exportSpki)
          .mapErr((reason) => invalid('public key', reason));
        const period = certificatePeriod(validity, ca.notAfter).mapErr((reason) =>
          invalid('validity', reason),
        );
        const serial = newSerial(random).mapErr(failed('issue a certificate'));
        return Result.combine([publicKey, period, serial])
          .asyncAndThen((fields) =>
            ResultAsync.fromPromise(
              signIssued(keyPem, ca.der, profileNames(profile), ...fields),
              failed('sign a certificate'),
            ),
          )
          .andThen((der) => readBack(der, ca));
      });

  return { create, certificates, issue };
};
