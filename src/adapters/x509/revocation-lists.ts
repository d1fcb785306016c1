import { Buffer } from 'node:buffer';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { pemOf } from '../../domain/core/pem.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { RevocationList } from '../../domain/trust/revocation-list.js';
import type { Crypto } from '../../ports/crypto.js';
import type { RevocationLists } from '../../ports/revocation-lists.js';
import { onlyBlock } from '../shared/pem.js';
import { readList } from './list-reading.js';

const maxCharacters = 16 * 1024 * 1024;
const labels = ['X509 CRL', 'CRL'];

type Digest = Pick<Crypto, 'sha256'>;

const invalid = (reason: string): CtrlExecError<'certificate_invalid'> =>
  failure('certificate_invalid', `revocation list cannot be used: ${reason}`, { field: 'crl', reason });

/** Certificate revocation lists, judged by their bytes with node:crypto: 100,000 entries take a quarter of a second. */
export const x509RevocationLists = ({ crypto }: { crypto: Digest }): RevocationLists => ({
  read: (pem, cas) =>
    new ResultAsync(
      Promise.resolve(
        derOf(pem)
          .andThen((der) => revocationList(der, cas, crypto))
          .mapErr(invalid),
      ),
    ),
});

/** Reads a list, DER, that one of these CAs signed; else why it is not taken. */
export const revocationList = (
  der: Uint8Array<ArrayBuffer>,
  cas: readonly Certificate[],
  crypto: Digest,
): Result<RevocationList, string> =>
  readList(der, cas).map(({ issuer, ...list }) => ({
    pem: pemOf('X509 CRL', der),
    issuerSpkiSha256: Buffer.from(crypto.sha256(issuer.spki)).toString('hex'),
    ...list,
  }));

function derOf(text: string): Result<Uint8Array<ArrayBuffer>, string> {
  if (text.length > maxCharacters) return err(`is longer than ${maxCharacters} bytes`);
  const der = onlyBlock(text, labels);
  return der ? ok(der) : err('expected exactly one PEM block X509 CRL and nothing else');
}
