import { err, ok, Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Issuer } from '../../ports/certificate-authority.js';
import type { Crypto } from '../../ports/crypto.js';
import type { CaItem, KeyStore, KeyStoreContents } from '../../ports/key-store.js';
import { derBlocks } from '../shared/pem.js';

/** Who signs. */
export interface Signer {
  readonly keyPem: string;
  readonly certificate: Certificate;
}

/** Current one first. */
type CaSet = Result<readonly [Certificate, ...Certificate[]], CtrlExecError<'certificate_invalid'>>;

export const caItems = ['ca-key', 'ca-certificate', 'ca-previous-key'] as const;

type CaDocuments = KeyStoreContents<(typeof caItems)[number]>;

/** Where the key of each is, and at which place of the set its certificate. */
const issuers = {
  current: { keyItem: 'ca-key', index: 0 },
  previous: { keyItem: 'ca-previous-key', index: 1 },
} as const satisfies Record<Issuer, unknown>;

type Unissuable = CtrlExecError<'ca_missing' | 'certificate_invalid'>;

export const invalid = (field: string, reason: string) =>
  failure('certificate_invalid', `${field} cannot be used: ${reason}`, { field, reason });

export const missing = (keyStore: KeyStore<CaItem>) =>
  failure(
    'ca_missing',
    `there is no CA: expected ${keyStore.location('ca-certificate')} and ${keyStore.location('ca-key')}`,
    {},
  );

const noPrevious = () => failure('ca_missing', 'there is no previous CA: none is being replaced', {});

/** Reads what a key store holds of CAs. */
export function caDocuments({ keyStore, crypto }: { keyStore: KeyStore<CaItem>; crypto: Crypto }) {
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

  /** Who signs: a certificate of the set, and the key, which must belong to it. */
  const readSigner = (items: CaDocuments, issuer: Issuer): Result<Signer, Unissuable> => {
    const { keyItem, index } = issuers[issuer];
    const keyPem = items[keyItem];
    const caPem = items['ca-certificate'];
    if (caPem === undefined || (keyPem === undefined && issuer === 'current')) return err(missing(keyStore));
    const where = keyStore.location(keyItem);
    return readCas(caPem).andThen((cas) => {
      const certificate = cas[index];
      if (keyPem === undefined || certificate === undefined) return err(noPrevious());
      return crypto
        .signingKey(keyPem)
        .mapErr(({ reason }) => invalid(where, reason))
        .andThen(({ spki }) =>
          crypto.equal(spki, certificate.spki)
            ? ok({ keyPem, certificate })
            : err(invalid(where, 'it is not the key of the CA certificate')),
        );
    });
  };

  return { readCas, readSigner };
}
