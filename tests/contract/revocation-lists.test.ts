import { value } from './result.js';
import 'reflect-metadata';
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { memoryKeyStore } from '../../src/adapters/memory/key-store.js';
import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { systemRandom } from '../../src/adapters/node-crypto/random.js';
import { x509CertificateAuthority } from '../../src/adapters/x509/certificate-authority.js';
import { x509RevocationLists } from '../../src/adapters/x509/revocation-lists.js';
import { rsaKey, version1Certificate } from './certificate-samples.js';
import { revocationListsContract, type TestCa } from './revocation-lists.contract.js';

const crypto = nodeCrypto();
const years = { notBefore: Date.UTC(2024, 0), notAfter: Date.UTC(2034, 0) };

async function ownCa(): Promise<TestCa> {
  const keyStore = memoryKeyStore();
  const authority = x509CertificateAuthority({ keyStore, random: systemRandom(), crypto });
  const certificate = value(await authority.create(years));
  const key = value(await keyStore.read(['ca-key']))['ca-key'] ?? '';
  return { key, certificate };
}

function rsaCa(): TestCa {
  const key = rsaKey(2048);
  const names = { subject: 'Imported CA', issuer: 'Imported CA' };
  const pem = version1Certificate({ serial: 1, ...names, subjectKey: key, issuerKey: key });
  return { key, certificate: value(crypto.readCertificate(pem)) };
}

/** A CA whose certificate allows it to sign certificates and nothing else. */
async function caWithoutLists(): Promise<TestCa> {
  const key = value(await crypto.generateKey('p384'));
  const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
  const { subtle } = webcrypto;
  const half = createPrivateKey(key);
  const pkcs8 = half.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(half).export({ type: 'spki', format: 'der' });
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '0a',
      name: 'CN=no lists',
      notBefore: new Date(years.notBefore),
      notAfter: new Date(years.notAfter),
      keys: {
        privateKey: await subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
        publicKey: await subtle.importKey('spki', spki, algorithm, true, ['verify']),
      },
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      ],
    },
    webcrypto,
  );
  return { key, certificate: value(crypto.readCertificate(certificate.toString('pem'))) };
}

revocationListsContract(
  'x509',
  () => x509RevocationLists({ crypto }),
  async () => ({
    ca: await ownCa(),
    other: await ownCa(),
    rsa: rsaCa(),
    mayNotSign: await caWithoutLists(),
  }),
);
