import 'reflect-metadata';
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, webcrypto } from 'node:crypto';
import { Extension, Name, X509CertificateGenerator } from '@peculiar/x509';

/** DER of one element; contents up to 65,535 bytes. */
export const der = (tag: number, ...contents: (Uint8Array | string)[]): Buffer => {
  const content = Buffer.concat(contents.map((part) => Buffer.from(part as string, 'latin1')));
  const length =
    content.length < 0x80
      ? [content.length]
      : content.length < 0x100
        ? [0x81, content.length]
        : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};

export const subjectAltName = (...names: Buffer[]) =>
  new Extension('2.5.29.17', false, new Uint8Array(der(0x30, ...names)));
export const dnsName = (name: string) => der(0x82, name);
export const uriName = (name: string) => der(0x86, name);

/** A self-signed certificate that says whatever a test wants it to say; PEM. */
export async function sampleCertificate(options: {
  commonNames?: string[];
  serial?: string;
  extensions?: Extension[];
  notBefore?: Date;
  notAfter?: Date;
}): Promise<string> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const { commonNames = ['sample'], serial = '0a', extensions = [] } = options;
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial,
      name: new Name(commonNames.map((name) => ({ CN: [{ utf8String: name }] }))),
      notBefore: options.notBefore ?? new Date('2024-01-01T00:00:00Z'),
      notAfter: options.notAfter ?? new Date('2034-01-01T00:00:00Z'),
      keys,
      signingAlgorithm: algorithm,
      extensions,
    },
    webcrypto,
  );
  return `${certificate.toString('pem')}\n`;
}

/** An X.509 version 1 certificate, without extensions, as old installations have them: RSA, SHA-256; PEM. */
export function version1Certificate(options: {
  serial: number;
  subject: string;
  subjectKey: string;
  issuer: string;
  issuerKey: string;
}): string {
  const name = (text: string) =>
    der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, text))));
  const algorithm = Buffer.from('300d06092a864886f70d01010b0500', 'hex');
  const toBeSigned = der(
    0x30,
    der(0x02, Buffer.from([options.serial])),
    algorithm,
    name(options.issuer),
    der(0x30, der(0x17, '240101000000Z'), der(0x17, '340101000000Z')),
    name(options.subject),
    createPublicKey(createPrivateKey(options.subjectKey)).export({ type: 'spki', format: 'der' }),
  );
  const signature = sign('sha256', toBeSigned, options.issuerKey);
  const base64 = der(0x30, toBeSigned, algorithm, der(0x03, Buffer.from([0]), signature)).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${base64.replaceAll(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

export const rsaKey = (modulusLength: number) =>
  generateKeyPairSync('rsa', { modulusLength })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();

/** Keys that nobody may use here, PKCS#8 PEM. */
export const refusedKeys = () => {
  const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
  const ec = (namedCurve: string) =>
    generateKeyPairSync('ec', { namedCurve }).privateKey.export(pkcs8).toString();
  return {
    'RSA-1024': rsaKey(1024),
    'P-224': ec('secp224r1'),
    'P-521': ec('secp521r1'),
    secp256k1: ec('secp256k1'),
    Ed448: generateKeyPairSync('ed448').privateKey.export(pkcs8).toString(),
    X25519: generateKeyPairSync('x25519').privateKey.export(pkcs8).toString(),
    'RSA-PSS': generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey.export(pkcs8).toString(),
  };
};
