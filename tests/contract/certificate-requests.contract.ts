import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type KeyType, keyTypes } from '../../src/domain/trust/certificate.js';
import type { CertificateRequests } from '../../src/ports/certificate-requests.js';
import { refusedKeys } from './certificate-samples.js';
import { failure, value } from './result.js';

/** A fresh private key in PEM, in the form that is asked for. */
function privateKey(type: KeyType, form: 'pkcs8' | 'sec1' | 'pkcs1' = 'pkcs8'): string {
  const { privateKey: key } =
    type === 'p256' || type === 'p384'
      ? generateKeyPairSync('ec', { namedCurve: type === 'p256' ? 'prime256v1' : 'secp384r1' })
      : type === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: type === 'rsa2048' ? 2048 : 4096 });
  return key.export({ type: form as 'pkcs8', format: 'pem' }).toString();
}

const spkiOf = (pem: string) =>
  new Uint8Array(createPublicKey(createPrivateKey(pem)).export({ type: 'spki', format: 'der' }));

/** What holds for every `CertificateRequests`. */
export function certificateRequestsContract(name: string, open: () => CertificateRequests): void {
  describe(`certificate requests: ${name}`, () => {
    const make = async (key = privateKey('p256'), commonName = 'web-01') =>
      value(await open().create(key, commonName));

    it.each(keyTypes)('a request over a %s key is read back with that key', async (type) => {
      const key = privateKey(type);
      const pem = await make(key);
      expect(pem).toMatch(
        /^-----BEGIN CERTIFICATE REQUEST-----\n[^-]+\n-----END CERTIFICATE REQUEST-----\n$/,
      );
      const request = value(await open().read(pem));
      expect(request.spki).toEqual(spkiOf(key));
      expect(Buffer.from(request.der).toString('base64')).toBe(pem.replaceAll(/-----[A-Z ]+-----|\s/g, ''));
    });

    it.each(['p256', 'p384'] as const)('every signature of a %s key is encoded correctly', async (type) => {
      const key = privateKey(type);
      for (let round = 0; round < 150; round++)
        expect((await open().read(await make(key))).isOk()).toBe(true);
    });

    it('takes SEC1 and PKCS#1 keys', async () => {
      for (const key of [privateKey('p256', 'sec1'), privateKey('rsa2048', 'pkcs1')])
        expect(value(await open().read(await make(key))).spki).toEqual(spkiOf(key));
    });

    it.each(Object.entries(refusedKeys()))('makes none over a key of type %s', async (_type, key) => {
      expect(failure(await open().create(key, 'web-01')).code).toBe('crypto_failed');
    });

    it('asks for the names that are given, and for no subject where there is none', async () => {
      const key = privateKey('p256');
      const names = {
        dnsNames: ['a.test'],
        emails: ['b@test'],
        addresses: ['192.0.2.1', '2001:db8::1'],
        uris: ['spiffe://test/c'],
      };
      const pem = value(await open().create(key, undefined, names));
      const der = Buffer.from(value(await open().read(pem)).der).toString('latin1');
      // As RFC 5280 section 4.2.1.6 tags them: rfc822Name 1, dNSName 2, URI 6, iPAddress 7.
      for (const asked of [
        '\x81\x06b@test',
        '\x82\x06a.test',
        '\x86\x0fspiffe://test/c',
        '\x87\x04\xc0\x00\x02\x01',
      ])
        expect(der).toContain(asked);
      // An empty sequence stands where the subject would.
      expect(der.slice(0, 14)).toContain('\x02\x01\x00\x30\x00');
    });

    it('an unreadable key is an error that does not repeat it', async () => {
      const broken = privateKey('p256').replace(/\n.{4}/, '\n####');
      const error = failure(await open().create(broken, 'web-01'));
      expect(error.code).toBe('crypto_failed');
      expect(error.message).not.toContain(broken.split('\n')[1]?.slice(4, 14) ?? broken);
    });

    it('reads the legacy label, line ends of any kind and space around the block', async () => {
      const pem = await make();
      const { der } = value(await open().read(pem));
      for (const text of [
        pem.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'),
        `\n\t ${pem.replaceAll('\n', '\r\n')}\n\n`,
        pem.trimEnd(),
      ])
        expect(value(await open().read(text)).der).toEqual(der);
    });

    it('refuses everything that is not exactly one PEM block', async () => {
      const pem = await make();
      const body = pem.replaceAll(/-----[A-Z ]+-----|\s/g, '');
      const around = (base64: string) =>
        `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`;
      const withBytes = (...bytes: number[]) =>
        around(Buffer.concat([Buffer.from(body, 'base64'), Buffer.from(bytes)]).toString('base64'));
      expect((await open().read(around(body))).isOk()).toBe(true);
      for (const text of [
        '',
        'hello',
        body,
        pem + pem,
        `${pem}trailing\n`,
        `leading\n${pem}`,
        pem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'),
        pem.replace('END CERTIFICATE REQUEST', 'END NEW CERTIFICATE REQUEST'),
        pem.replace('-----END CERTIFICATE REQUEST-----', ''),
        withBytes(0),
        withBytes(0x30, 0),
        around(`${body}!`),
        around(body.slice(0, -8)),
        around('MAA='),
        around(''),
      ]) {
        const error = failure(await open().read(text));
        expect(error).toMatchObject({ code: 'certificate_invalid', field: 'csr' });
        expect(error.message).toMatch(/^[^\n]+$/);
      }
    });

    it('takes up to 10,240 bytes', async () => {
      const pem = await make();
      const padded = (length: number) => pem + ' '.repeat(length - pem.length);
      expect((await open().read(padded(10_240))).isOk()).toBe(true);
      expect(failure(await open().read(padded(10_241))).reason).toContain('10240');
    });

    it.each(['p256', 'p384', 'ed25519', 'rsa2048'] as const)(
      'refuses a %s request after any change of a byte',
      async (type) => {
        const { der } = value(await open().read(await make(privateKey(type))));
        for (let position = 0; position < der.length; position++)
          for (const bit of [0x01, 0x80]) {
            const changed = Buffer.from(der);
            changed[position] = (changed[position] ?? 0) ^ bit;
            const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${changed.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
            expect((await open().read(pem)).isErr(), `byte ${position}: ${changed.toString('hex')}`).toBe(
              true,
            );
          }
      },
    );
  });
}
