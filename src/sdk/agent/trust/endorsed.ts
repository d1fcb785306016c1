import type { Certificate } from '../../../domain/trust/certificate.js';
import { caEndorsementMessage } from '../../../domain/trust/lifecycle.js';
import type { Crypto } from '../../../ports/crypto.js';

/**
 * Those of `candidates` that are among the trusted CAs, or that carry the signature of a trusted CA, or of one that is found
 * this way.
 * @param endorsements signatures over `caEndorsementMessage`, in any order; those that fit nothing are ignored
 */
export function endorsedBy(
  crypto: Pick<Crypto, 'equal' | 'verify'>,
  trusted: readonly Certificate[],
  candidates: readonly Certificate[],
  endorsements: readonly Uint8Array[],
): readonly Certificate[] {
  const vouchesFor = (voucher: Certificate, { der }: Certificate) =>
    crypto.equal(voucher.der, der) ||
    endorsements.some((signature) => crypto.verify(voucher.spki, caEndorsementMessage(der), signature));
  let found: readonly Certificate[] = [];
  for (;;) {
    const vouchers = [...trusted, ...found];
    const next = candidates.filter(
      (ca) => found.includes(ca) || vouchers.some((voucher) => vouchesFor(voucher, ca)),
    );
    if (next.length === found.length) return found;
    found = next;
  }
}
