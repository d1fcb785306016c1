import 'reflect-metadata';
import { createPrivateKey, randomBytes, sign, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Credentials } from '../../../src/ports/channel.js';

/** What a test certificate says; everything may be left out. */
interface TestCertificate {
  /** Default `test`. */
  readonly commonName?: string;
  /** Extended key usages, default none: any usage. */
  readonly usages?: readonly ('clientAuth' | 'serverAuth')[];
  readonly dnsNames?: readonly string[];
  readonly uris?: readonly string[];
  /** Hex. Default random, 16 bytes. */
  readonly serial?: string;
  /** Default an hour ago. */
  readonly notBefore?: Date;
  /** Default in a day. */
  readonly notAfter?: Date;
  /** Default a fresh P-256 key. */
  readonly keys?: TestKeys;
  /** SubjectPublicKeyInfo of somebody else's key, DER, in place of `keys`: nobody here has the private half. */
  readonly spki?: Uint8Array;
  /** As legacy CAs issue them: X.509 version 1, no extensions, whatever else is asked for. */
  readonly version1?: boolean;
}

/** A key pair; `pem` is the private key, PKCS#8. */
interface TestKeys {
  readonly pem: string;
  readonly pair: webcrypto.CryptoKeyPair;
}

/** A CA for tests. */
export interface TestCa {
  /** Its certificate, PEM. */
  readonly pem: string;
  readonly keys: TestKeys;
  issue(certificate?: TestCertificate): Promise<Credentials>;
}

type TestKeyType = 'p256' | 'p384' | 'ed25519' | 'rsa2048';

const hash = 'SHA-256';
const algorithms = {
  p256: { name: 'ECDSA', namedCurve: 'P-256', hash },
  p384: { name: 'ECDSA', namedCurve: 'P-384', hash },
  ed25519: { name: 'Ed25519' },
  rsa2048: {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash,
  },
};

const pemOf = (label: string, der: Uint8Array) => {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
};

/** A fresh key pair. */
async function testKeys(type: TestKeyType = 'p256'): Promise<TestKeys> {
  const pair = (await webcrypto.subtle.generateKey(algorithms[type], true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', pair.privateKey);
  return { pem: pemOf('PRIVATE KEY', new Uint8Array(pkcs8)), pair };
}

/** The elements of a DER sequence, each with its header. */
function elements(der: Buffer): Buffer[] {
  const contentAt = (at: number) => {
    const first = der.readUInt8(at + 1);
    if (first < 0x80) return { start: at + 2, length: first };
    const size = first & 0x7f;
    return { start: at + 2 + size, length: der.readUIntBE(at + 2, size) };
  };
  const found: Buffer[] = [];
  for (let at = contentAt(0).start; at < der.length; ) {
    const { start, length } = contentAt(at);
    found.push(der.subarray(at, start + length));
    at = start + length;
  }
  return found;
}

/** One element; contents up to 65,535 bytes. */
function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (parts: readonly Buffer[]) => element(0x30, ...parts);

/** Takes version and extensions out of a certificate and signs what is left. */
function asVersion1(der: Uint8Array, issuerKey: string): Buffer {
  const [body, algorithm] = elements(Buffer.from(der));
  if (!body || !algorithm) throw new Error('not a certificate');
  // [0] is the version, [3] the extensions.
  const toSign = sequence(elements(body).filter((part) => part[0] !== 0xa0 && part[0] !== 0xa3));
  const signature = sign('sha256', toSign, createPrivateKey(issuerKey));
  return sequence([toSign, algorithm, element(0x03, Buffer.of(0), signature)]);
}

const distinguished = (commonName: string) => new Name([{ CN: [{ utf8String: commonName }] }]);
const randomSerial = () => `1${randomBytes(16).toString('hex').slice(1)}`;
const hour = 3_600_000;

async function extensionsOf(asked: TestCertificate, issuer: TestKeys): Promise<Extension[]> {
  const { usages, dnsNames = [], uris = [] } = asked;
  const names = [
    ...dnsNames.map((value) => ({ type: 'dns', value }) as const),
    ...uris.map((value) => ({ type: 'url', value }) as const),
  ];
  return [
    new BasicConstraintsExtension(false, undefined, true),
    await AuthorityKeyIdentifierExtension.create(issuer.pair.publicKey, false, webcrypto),
    ...(usages ? [new ExtendedKeyUsageExtension(usages.map((usage) => ExtendedKeyUsage[usage]))] : []),
    ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
  ];
}

/**
 * A CA with a P-256 key (any other with `type`), valid from a day ago for ten days.
 * `version1`: its own certificate is one of version 1, as those of legacy CAs.
 */
export async function testCa(
  options: {
    commonName?: string;
    type?: TestKeyType;
    version1?: boolean;
    /** Another CA, that issues this one. */
    issuer?: { readonly commonName: string; readonly keys: TestKeys };
  } = {},
): Promise<TestCa> {
  const keys = await testKeys(options.type);
  const { commonName = 'test CA' } = options;
  const signingAlgorithm = { name: algorithms[options.type ?? 'p256'].name, hash };
  const { issuer = { commonName, keys } } = options;
  const own = await X509CertificateGenerator.create(
    {
      serialNumber: randomSerial(),
      subject: distinguished(commonName),
      issuer: distinguished(issuer.commonName),
      notBefore: new Date(Date.now() - 24 * hour),
      notAfter: new Date(Date.now() + 240 * hour),
      publicKey: keys.pair.publicKey,
      signingKey: issuer.keys.pair.privateKey,
      signingAlgorithm,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        // By which OpenSSL tells CAs of the same name apart.
        await SubjectKeyIdentifierExtension.create(keys.pair.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const der = new Uint8Array(own.rawData);
  const ownDer = options.version1 ? asVersion1(der, keys.pem) : der;

  return {
    pem: pemOf('CERTIFICATE', ownDer),
    keys,
    async issue(asked = {}) {
      const subjectKeys = asked.keys ?? (await testKeys());
      const certificate = await X509CertificateGenerator.create(
        {
          serialNumber: asked.serial ?? randomSerial(),
          subject: distinguished(asked.commonName ?? 'test'),
          issuer: distinguished(commonName),
          notBefore: asked.notBefore ?? new Date(Date.now() - hour),
          notAfter: asked.notAfter ?? new Date(Date.now() + 24 * hour),
          publicKey: asked.spki ? new PublicKey(asked.spki.slice()) : subjectKeys.pair.publicKey,
          signingKey: keys.pair.privateKey,
          signingAlgorithm,
          extensions: await extensionsOf(asked, keys),
        },
        webcrypto,
      );
      const issued = new Uint8Array(certificate.rawData);
      return {
        key: subjectKeys.pem,
        certificate: pemOf('CERTIFICATE', asked.version1 ? asVersion1(issued, keys.pem) : issued),
      };
    },
  };
}

/** A certificate that signed itself and is not a CA. */
export async function selfSigned(commonName = 'self-signed'): Promise<Credentials> {
  const keys = await testKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: randomSerial(),
      name: distinguished(commonName),
      notBefore: new Date(Date.now() - hour),
      notAfter: new Date(Date.now() + 24 * hour),
      keys: keys.pair,
      signingAlgorithm: { name: 'ECDSA', hash },
      extensions: [new BasicConstraintsExtension(false, undefined, true)],
    },
    webcrypto,
  );
  return { key: keys.pem, certificate: pemOf('CERTIFICATE', new Uint8Array(certificate.rawData)) };
}
