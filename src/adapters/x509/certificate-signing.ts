import 'reflect-metadata';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { profileNames } from '../../domain/trust/certificate.js';
import { type CertificatePeriod, subjectOf } from './certificate-fields.js';
import { importKeyPair } from './key-pair.js';

type Names = ReturnType<typeof profileNames>;
type Bytes = Uint8Array<ArrayBuffer>;

/** A self-signed CA certificate, DER: pathLen 0, for signing certificates and CRLs. */
export async function signCa(keyPem: string, period: CertificatePeriod, serial: string): Promise<Bytes> {
  const { keys, algorithm } = await importKeyPair(keyPem);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial,
      // A name of its own for each CA: OpenSSL looks an issuer up by name and tries only the first that it finds.
      name: subjectOf(`ctrl-exec CA ${serial.slice(0, 8)}`),
      ...period,
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, globalThis.crypto),
      ],
    },
    globalThis.crypto,
  );
  return new Uint8Array(certificate.rawData);
}

/** A certificate for `publicKey` (SubjectPublicKeyInfo), DER, under the CA `caDer` whose private key is `caKeyPem`. */
export async function signIssued(
  caKeyPem: string,
  caDer: Uint8Array,
  names: Names,
  publicKey: Bytes,
  period: CertificatePeriod,
  serial: string,
): Promise<Bytes> {
  const { keys, algorithm } = await importKeyPair(caKeyPem);
  const ca = new X509Certificate(new Uint8Array(caDer));
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serial,
      subject: subjectOf(names.commonName),
      issuer: ca.subjectName,
      ...period,
      publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension(names.usages.map((usage) => ExtendedKeyUsage[usage])),
        alternativeNames(names),
        await SubjectKeyIdentifierExtension.create(publicKey, false, globalThis.crypto),
        await authorityKeyIdentifier(ca),
      ],
    },
    globalThis.crypto,
  );
  return new Uint8Array(certificate.rawData);
}

const alternativeNames = ({ dnsNames, uris }: Names) =>
  new SubjectAlternativeNameExtension([
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...uris.map((value) => ({ type: 'url' as const, value })),
  ]);

/** As the CA calls its key; a CA without that extension gets what RFC 5280 section 4.2.1.2 proposes. */
const authorityKeyIdentifier = async (ca: X509Certificate): Promise<Extension> => {
  const keyId = ca.getExtension(SubjectKeyIdentifierExtension)?.keyId;
  return keyId === undefined
    ? AuthorityKeyIdentifierExtension.create(ca.publicKey, false, globalThis.crypto)
    : new AuthorityKeyIdentifierExtension(keyId);
};
