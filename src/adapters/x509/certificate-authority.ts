import { err, ok, okAsync, Result, ResultAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { errorMessage } from '../../domain/core/thrown.js';
import { type Certificate, type CertificateProfile, profileNames } from '../../domain/trust/certificate.js';
import { caEndorsementMessage } from '../../domain/trust/lifecycle.js';
import type { CertificateAuthority, Issuer, Validity } from '../../ports/certificate-authority.js';
import type { Crypto } from '../../ports/crypto.js';
import type { CaItem, KeyStore, KeyStoreChange } from '../../ports/key-store.js';
import type { Random } from '../../ports/random.js';
import { caDocuments, caItems, invalid, missing } from './ca-documents.js';
import { type CertificatePeriod, certificatePeriod, newSerial } from './certificate-fields.js';
import { signCa, signIssued } from './certificate-signing.js';
import { listIssuer } from './list-issuer.js';
import { type ListContent, listFields, signList } from './list-writing.js';
import { acceptableKey, exportSpki } from './public-key.js';
import { revocationList as readRevocationList } from './revocation-lists.js';

const failed = (operation: string) => (error: unknown) => {
  const reason = errorMessage(error);
  return failure('crypto_failed', `cannot ${operation}: ${reason}`, { operation, reason });
};

const exists = (path: string, what: string) =>
  failure('ca_exists', `there is a ${what} already, it is not overwritten: ${path}`, { path });

/** The CA of a key store, with @peculiar/x509 on WebCrypto. */
export const x509CertificateAuthority = (ports: {
  keyStore: KeyStore<CaItem>;
  random: Random;
  crypto: Crypto;
}): CertificateAuthority => {
  const { keyStore, random, crypto } = ports;

  const { readCas, readSigner } = caDocuments(ports);

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

  const fresh = (validity: Validity) =>
    Result.combine([certificatePeriod(validity), newSerial(random)])
      .mapErr(failed('make a CA certificate'))
      .asyncAndThen(([period, serial]) =>
        crypto.generateKey('p384').andThen((keyPem) => selfSigned(keyPem, period, serial)),
      );

  const create = (validity: Validity) =>
    fresh(validity).andThen(({ keyPem, certificate }) =>
      keyStore
        .replace({ 'ca-key': keyPem, 'ca-certificate': certificate.pem }, { onlyIfAbsent: true })
        .mapErr((error) => {
          if (error.code !== 'identity_exists') return error;
          return exists(keyStore.location('ca-key'), 'CA');
        })
        .map(() => certificate),
    );

  const certificates = () =>
    keyStore.read(['ca-certificate']).andThen((items) => {
      const pem = items['ca-certificate'];
      return pem === undefined ? err(missing(keyStore)) : readCas(pem);
    });

  const signer = (issuer: Issuer) => keyStore.read(caItems).andThen((items) => readSigner(items, issuer));

  const issue = (
    profile: CertificateProfile,
    spki: Uint8Array,
    validity: Validity,
    issuer: Issuer = 'current',
  ) =>
    signer(issuer).andThen(({ keyPem, certificate: ca }) => {
      const publicKey = acceptableKey(spki)
        .map(exportSpki)
        .mapErr((reason) => invalid('public key', reason));
      const period = certificatePeriod(validity, ca.notAfter).mapErr((reason) => invalid('validity', reason));
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

  const revocationList = (list: ListContent, issuer: Issuer = 'current') =>
    signer(issuer).andThen(({ keyPem, certificate: ca }) => {
      const named = listIssuer(ca);
      if (!named) return err(invalid(keyStore.location('ca-certificate'), 'it is of an unknown shape'));
      return listFields(list)
        .mapErr(({ field, reason }) => invalid(field, reason))
        .andThen((fields) =>
          Result.fromThrowable(signList, failed('sign a revocation list'))(named, fields, keyPem),
        )
        .andThen((der) =>
          readRevocationList(der, [ca], crypto).mapErr((reason) =>
            failed('sign a revocation list')(`it ${reason}`),
          ),
        );
    });

  /** What may replace what is there meets nothing that it must not overwrite. */
  const write = (change: KeyStoreChange<CaItem>) =>
    keyStore.replace(change).mapErr((error) => {
      if (error.code === 'file_failed') return error;
      const path = keyStore.location('ca-certificate');
      return failure('file_failed', error.message, { path, operation: 'write', reason: error.reason });
    });

  const succeed = (validity: Validity) =>
    keyStore.read(caItems).andThen((items) =>
      readSigner(items, 'current')
        .andThen((before) => {
          const previous = keyStore.location('ca-previous-key');
          if (items['ca-previous-key'] !== undefined) return err(exists(previous, 'previous CA'));
          const set = keyStore.location('ca-certificate');
          return readCas(items['ca-certificate'] ?? '').andThen((cas) =>
            cas.length > 1 ? err(exists(set, 'previous CA')) : ok(before),
          );
        })
        .asyncAndThen((before) =>
          fresh(validity).andThen(({ keyPem, certificate }) =>
            write({
              'ca-key': keyPem,
              'ca-certificate': certificate.pem + before.certificate.pem,
              'ca-previous-key': before.keyPem,
            }).map(() => certificate),
          ),
        ),
    );

  const endorsement: CertificateAuthority['endorsement'] = () =>
    keyStore.read(caItems).andThen((items) => {
      if (items['ca-previous-key'] === undefined) return ok(undefined);
      return readSigner(items, 'previous').andThen(({ keyPem }) =>
        readSigner(items, 'current').andThen(({ certificate }) =>
          crypto.signingKey(keyPem).map((key) => key.sign(caEndorsementMessage(certificate.der))),
        ),
      );
    });

  const retirePrevious = () =>
    keyStore
      .read(['ca-certificate', 'ca-previous-key'])
      .andThen((items) => {
        const pem = items['ca-certificate'];
        if (pem === undefined) return err(missing(keyStore));
        return readCas(pem).map(([current, ...others]) => ({
          current,
          alone: others.length === 0 && items['ca-previous-key'] === undefined,
        }));
      })
      .andThen(
        ({ current, alone }): ReturnType<typeof write> =>
          alone ? okAsync(undefined) : write({ 'ca-certificate': current.pem, 'ca-previous-key': null }),
      );

  return { create, certificates, issue, revocationList, succeed, endorsement, retirePrevious };
};
