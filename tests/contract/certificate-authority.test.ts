import { describe, expect, it } from 'vitest';
import { memoryKeyStore } from '../../src/adapters/memory/key-store.js';
import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { systemRandom } from '../../src/adapters/node-crypto/random.js';
import { x509CertificateAuthority } from '../../src/adapters/x509/certificate-authority.js';
import { certificateAuthorityContract } from './certificate-authority.contract.js';
import { failure } from './result.js';

const crypto = nodeCrypto();

certificateAuthorityContract('x509', {
  keyStore: memoryKeyStore,
  open: (keyStore) => x509CertificateAuthority({ keyStore, random: systemRandom(), crypto }),
  crypto,
});

describe('x509 certificate authority', () => {
  it('a random source that gives no usable serial ends in an error, not in a loop', async () => {
    for (const byte of [0x00, 0x11, 0xff]) {
      const random = { bytes: (length: number) => new Uint8Array(length).fill(byte) };
      const authority = x509CertificateAuthority({ keyStore: memoryKeyStore(), random, crypto });
      const error = failure(await authority.create({ notBefore: 0, notAfter: 1e12 }));
      expect(error.code).toBe('crypto_failed');
    }
  });
});
