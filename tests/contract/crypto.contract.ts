import { failure, value } from './result.js';
import 'reflect-metadata';
import { createPrivateKey, createPublicKey, sign, X509Certificate } from 'node:crypto';
import { BasicConstraintsExtension, ExtendedKeyUsageExtension, Extension } from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import { keyTypes } from '../../src/domain/trust/certificate.js';
import type { Crypto } from '../../src/ports/crypto.js';
import {
  der,
  dnsName,
  refusedKeys,
  rsaKey,
  sampleCertificate,
  subjectAltName,
  uriName,
  version1Certificate,
} from './certificate-samples.js';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
const hex = (value: Uint8Array) => Buffer.from(value).toString('hex');
const text = (value: string) => new TextEncoder().encode(value);

/** What holds for every `Crypto`; certificates to read are made by the suite. */
export function cryptoContract(name: string, open: () => Crypto): void {
  describe(`crypto: ${name}`, () => {
    describe('digests', () => {
      it('SHA-256 gives the vector of FIPS 180-4', () => {
        expect(hex(open().sha256(text('abc')))).toBe(
          'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
        );
      });

      it('SHA-256 over parts is that of the whole, whatever the parts are', () => {
        for (const parts of [[], ['abc'], ['a', '', 'bc'], ['a', 'b', 'c']]) {
          const running = open().runningSha256();
          for (const part of parts) running.update(text(part));
          expect(hex(running.digest())).toBe(hex(open().sha256(text(parts.join('')))));
        }
      });

      it('two digests over parts know nothing of each other, nor of what becomes of their input', () => {
        const crypto = open();
        const [one, other] = [crypto.runningSha256(), crypto.runningSha256()];
        const part = text('abc');
        one.update(part);
        other.update(text('x'));
        part.fill(0);
        expect(hex(one.digest())).toBe(hex(crypto.sha256(text('abc'))));
      });

      it.each([
        [
          '1',
          '0b'.repeat(20),
          '4869205468657265',
          'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
        ],
        [
          '2',
          '4a656665',
          '7768617420646f2079612077616e7420666f72206e6f7468696e673f',
          '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
        ],
        [
          '6',
          'aa'.repeat(131),
          hex(text('Test Using Larger Than Block-Size Key - Hash Key First')),
          '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
        ],
      ])('HMAC-SHA-256 gives the vector of RFC 4231, case %s', (_case, key, data, expected) => {
        expect(hex(open().hmacSha256(bytes(key), bytes(data)))).toBe(expected);
      });

      it('HKDF-SHA-256 gives the vector of RFC 5869, A.1', () => {
        const derived = open().hkdfSha256(
          bytes('0b'.repeat(22)),
          bytes('000102030405060708090a0b0c'),
          bytes('f0f1f2f3f4f5f6f7f8f9'),
          42,
        );
        expect(hex(derived)).toBe(
          '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
        );
      });

      it('HKDF-SHA-256 gives the vector of RFC 5869, A.3, without salt and info', () => {
        const none = new Uint8Array();
        expect(hex(open().hkdfSha256(bytes('0b'.repeat(22)), none, none, 42))).toBe(
          '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
        );
      });

      it('answers plain arrays and leaves its input alone', () => {
        const crypto = open();
        const input = text('input');
        const results = [
          crypto.sha256(input),
          crypto.hmacSha256(input, input),
          crypto.hkdfSha256(input, input, input, 16),
        ];
        expect(results.every((result) => Object.getPrototypeOf(result) === Uint8Array.prototype)).toBe(true);
        expect(input).toEqual(text('input'));
      });
    });

    describe('equal', () => {
      it('is true for the same bytes only', () => {
        const crypto = open();
        expect(crypto.equal(bytes('0102'), bytes('0102'))).toBe(true);
        expect(crypto.equal(bytes('0102'), bytes('0103'))).toBe(false);
        expect(crypto.equal(bytes(''), bytes(''))).toBe(true);
      });

      it('is false for different lengths, also of a prefix', () => {
        expect(open().equal(bytes('0102'), bytes('01'))).toBe(false);
        expect(open().equal(bytes(''), bytes('00'))).toBe(false);
      });
    });

    describe('keys and signatures', () => {
      const expectations = {
        p256: ['ecdsa-p256-sha256', 64],
        p384: ['ecdsa-p384-sha384', 96],
        ed25519: ['ed25519', 64],
        rsa2048: ['rsa-pss-sha512', 256],
        rsa4096: ['rsa-pss-sha512', 512],
      } as const;

      it.each(keyTypes)(
        'a fresh %s key signs with its algorithm, and only the right data verifies',
        async (type) => {
          const crypto = open();
          const pem = value(await crypto.generateKey(type));
          expect(pem).toMatch(/^-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n$/);
          const key = value(crypto.signingKey(pem));
          const signature = key.sign(text('data'));
          expect([key.algorithm, signature.length]).toEqual(expectations[type]);
          expect(crypto.algorithmOf(key.spki)).toBe(key.algorithm);
          expect(crypto.verify(key.spki, text('data'), signature)).toBe(true);
          expect(crypto.verify(key.spki, text('Data'), signature)).toBe(false);
          const other = Uint8Array.from(signature);
          other[20] = (other[20] ?? 0) ^ 1;
          expect(crypto.verify(key.spki, text('data'), other)).toBe(false);
          expect(crypto.verify(key.spki, text('data'), signature.subarray(1))).toBe(false);
          expect(crypto.verify(key.spki, text('data'), new Uint8Array())).toBe(false);
        },
      );

      it('two fresh keys differ', async () => {
        const crypto = open();
        const [a, b] = [await crypto.generateKey('p256'), await crypto.generateKey('p256')];
        expect(value(a)).not.toBe(value(b));
      });

      it('Ed25519 signs as in RFC 8032, section 7.1, tests 1 and 3', () => {
        const key = (seed: string) =>
          createPrivateKey({
            key: Buffer.concat([bytes('302e020100300506032b657004220420'), bytes(seed)]),
            format: 'der',
            type: 'pkcs8',
          })
            .export({ type: 'pkcs8', format: 'pem' })
            .toString();
        const signed = (seed: string, data: string) =>
          hex(value(open().signingKey(key(seed))).sign(bytes(data)));
        expect(signed('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', '')).toBe(
          'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
        );
        expect(signed('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'af82')).toBe(
          '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
        );
      });

      it('reads SEC1 and PKCS#1 as well', async () => {
        const crypto = open();
        for (const [type, format, label] of [
          ['p256', 'sec1', 'EC PRIVATE KEY'],
          ['rsa2048', 'pkcs1', 'RSA PRIVATE KEY'],
        ] as const) {
          const pkcs8 = value(await crypto.generateKey(type));
          const other = createPrivateKey(pkcs8).export({ type: format, format: 'pem' }).toString();
          expect(other).toContain(`BEGIN ${label}`);
          expect(value(crypto.signingKey(other)).spki).toEqual(value(crypto.signingKey(pkcs8)).spki);
        }
      });

      it.each(Object.entries(refusedKeys()))(
        'refuses a key of type %s, for signing and for verifying',
        (_type, pem) => {
          const error = failure(open().signingKey(pem));
          expect(error.code).toBe('certificate_invalid');
          expect(error.message).not.toContain('\n');
          const secret = createPrivateKey(pem);
          const spki = createPublicKey(secret).export({ type: 'spki', format: 'der' });
          expect(open().algorithmOf(new Uint8Array(spki))).toBeUndefined();
          if (secret.asymmetricKeyType === 'x25519') return;
          for (const digest of [null, 'sha256', 'sha384', 'sha512'])
            for (const dsaEncoding of ['der', 'ieee-p1363'] as const) {
              const signature = signedAnyway(digest, { key: pem, dsaEncoding });
              expect(open().verify(new Uint8Array(spki), text('data'), signature)).toBe(false);
            }
        },
      );

      it('an unreadable key is an error that does not repeat it', async () => {
        const pem = value(await open().generateKey('p256'));
        const encrypted = createPrivateKey(pem)
          .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' })
          .toString();
        for (const input of ['', 'hello', pem.slice(0, 80), pem.replace('PRIVATE', 'PUBLIC'), encrypted]) {
          const error = failure(open().signingKey(input));
          expect(error).toMatchObject({ code: 'certificate_invalid', field: 'private key' });
          expect(error.message).not.toContain(pem.split('\n')[1]?.slice(0, 10) ?? pem);
        }
      });

      it('verifies nothing with a malformed key, or with an ECDSA signature in DER', async () => {
        const crypto = open();
        const pem = value(await crypto.generateKey('p256'));
        const key = value(crypto.signingKey(pem));
        const signature = key.sign(text('data'));
        expect(crypto.verify(key.spki.subarray(1), text('data'), signature)).toBe(false);
        expect(crypto.verify(new Uint8Array(), text('data'), signature)).toBe(false);
        expect(crypto.algorithmOf(key.spki.subarray(1))).toBeUndefined();
        expect(crypto.algorithmOf(new Uint8Array())).toBeUndefined();
        const inDer = sign('sha256', text('data'), pem);
        expect(crypto.verify(key.spki, text('data'), inDer)).toBe(false);
      });

      it('a key is not confused with another one that was used before', async () => {
        const crypto = open();
        const keys = await Promise.all(
          (['p256', 'p256', 'p384', 'ed25519'] as const).map(async (type) =>
            value(crypto.signingKey(value(await crypto.generateKey(type)))),
          ),
        );
        for (const [i, signer] of [...keys.entries(), ...keys.entries()])
          expect(
            keys.map(({ spki }) => crypto.verify(spki, text('data'), signer.sign(text('data')))),
          ).toEqual(keys.map((_, j) => i === j));
      });

      it('an RSA signature with another padding or salt does not verify', async () => {
        const crypto = open();
        const pem = value(await crypto.generateKey('rsa2048'));
        const { spki } = value(crypto.signingKey(pem));
        const pss = (saltLength: number) =>
          sign('sha512', text('data'), { key: pem, padding: 6, saltLength });
        expect(crypto.verify(spki, text('data'), pss(64))).toBe(true);
        expect(crypto.verify(spki, text('data'), pss(32))).toBe(false);
        expect(crypto.verify(spki, text('data'), sign('sha512', text('data'), pem))).toBe(false);
      });
    });

    describe('reading certificates', () => {
      const serverAuth = '1.3.6.1.5.5.7.3.1';
      const clientAuth = '1.3.6.1.5.5.7.3.2';

      it('reads every field, the same from PEM and from DER', async () => {
        const crypto = open();
        const pem = await sampleCertificate({
          serial: '00ab0c',
          extensions: [
            subjectAltName(
              dnsName('web-01.example.org'),
              uriName('ctrl-exec:agent:web-01'),
              dnsName('second'),
            ),
            new ExtendedKeyUsageExtension([serverAuth, '1.3.6.1.5.5.7.3.3']),
          ],
        });
        const certificate = value(crypto.readCertificate(pem));
        const { raw, publicKey } = new X509Certificate(pem);
        expect(certificate).toEqual({
          pem: certificate.pem,
          der: new Uint8Array(raw),
          spki: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
          serial: 'ab0c',
          commonName: 'sample',
          dnsNames: ['web-01.example.org', 'second'],
          uris: ['ctrl-exec:agent:web-01'],
          notBefore: Date.parse('2024-01-01T00:00:00Z'),
          notAfter: Date.parse('2034-01-01T00:00:00Z'),
          isCa: false,
          usages: ['serverAuth', 'other'],
        });
        expect(certificate.pem).toMatch(/^-----BEGIN CERTIFICATE-----\n[^-]+\n-----END CERTIFICATE-----\n$/);
        expect(new X509Certificate(certificate.pem).raw.equals(raw)).toBe(true);
        expect(value(crypto.readCertificate(raw))).toEqual(certificate);
        expect(value(crypto.readCertificate(new Uint8Array(raw)))).toEqual(certificate);
        expect(value(crypto.readCertificate(`\n  ${pem.replaceAll('\n', '\r\n')}\n`))).toEqual(certificate);
      });

      it.each([
        ['01', '1'],
        ['0f', 'f'],
        ['10', '10'],
        ['00ff', 'ff'],
        ['7fffffffffffffffffffffffffffffffffffffff', '7fffffffffffffffffffffffffffffffffffffff'],
      ])('the serial %s is %s', async (serial, canonical) => {
        const pem = await sampleCertificate({ serial });
        expect(value(open().readCertificate(pem)).serial).toBe(canonical);
      });

      it('usages are undefined where the extension is absent, and a list where it is there', async () => {
        const plain = value(open().readCertificate(await sampleCertificate({})));
        expect(plain).toMatchObject({ usages: undefined, dnsNames: [], uris: [], isCa: false });
        const both = await sampleCertificate({
          extensions: [new ExtendedKeyUsageExtension([clientAuth, serverAuth])],
        });
        expect(value(open().readCertificate(both)).usages).toEqual(['clientAuth', 'serverAuth']);
      });

      it('names that try to look like several names stay what they are', async () => {
        const odd = ['a.example, DNS:b.example', 'a"quoted"', 'nul\0.example', "back\\slash'", ' space ', ''];
        const pem = await sampleCertificate({
          extensions: [
            subjectAltName(
              ...odd.map(dnsName),
              uriName('ctrl-exec:agent:a, URI:ctrl-exec:agent:b'),
              der(0x81, 'a@b'),
              der(0x87, bytes('7f000001')),
            ),
          ],
        });
        const certificate = value(open().readCertificate(pem));
        expect(certificate.dnsNames).toEqual(odd);
        expect(certificate.uris).toEqual(['ctrl-exec:agent:a, URI:ctrl-exec:agent:b']);
      });

      it('reads common names with odd characters, and none where there are several', async () => {
        const read = async (...commonNames: string[]) =>
          value(open().readCertificate(await sampleCertificate({ commonNames }))).commonName;
        expect(await read('a\nCN=b')).toBe('a\nCN=b');
        expect(await read('ümlaut, "x"')).toBe('ümlaut, "x"');
        expect(await read('a', 'b')).toBeUndefined();
        expect(await read()).toBeUndefined();
      });

      it('reads dates beyond 2049', async () => {
        const pem = await sampleCertificate({
          notBefore: new Date('2049-12-31T23:59:59Z'),
          notAfter: new Date('2051-06-07T08:09:10Z'),
        });
        expect(value(open().readCertificate(pem))).toMatchObject({
          notBefore: Date.parse('2049-12-31T23:59:59Z'),
          notAfter: Date.parse('2051-06-07T08:09:10Z'),
        });
      });

      it('recognises a CA', async () => {
        const pem = await sampleCertificate({ extensions: [new BasicConstraintsExtension(true, 0, true)] });
        expect(value(open().readCertificate(pem)).isCa).toBe(true);
        const not = await sampleCertificate({
          extensions: [new BasicConstraintsExtension(false, undefined, true)],
        });
        expect(value(open().readCertificate(not)).isCa).toBe(false);
      });

      it.each([
        ['a malformed one', [new Extension('2.5.29.37', false, bytes('04020102'))]],
        ['an empty one', [new Extension('2.5.29.37', false, bytes('3000'))]],
        [
          'two of them',
          [new ExtendedKeyUsageExtension([clientAuth]), new ExtendedKeyUsageExtension([serverAuth])],
        ],
      ])(
        'an unreadable usage extension is refused, not taken for an absent one: %s',
        async (_what, extensions) => {
          const pem = await sampleCertificate({ extensions });
          expect(failure(open().readCertificate(pem)).code).toBe('certificate_invalid');
        },
      );

      it('refuses everything that is not exactly one certificate', async () => {
        const crypto = open();
        const pem = await sampleCertificate({});
        const { raw } = new X509Certificate(pem);
        const damaged = pem.replace(/\n(.{20})/, '\n$1!');
        const inputs: (string | Uint8Array)[] = [
          '',
          'hello',
          pem + pem,
          `${pem}trailing`,
          `leading\n${pem}`,
          pem.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST'),
          pem.replace('-----END CERTIFICATE-----', ''),
          damaged,
          new Uint8Array(),
          raw.subarray(0, raw.length - 1),
          Buffer.concat([raw, Buffer.from([0])]),
          Buffer.concat([raw, raw]),
          Buffer.from(pem),
          new Uint8Array(100_000).fill(0x30),
        ];
        for (const input of inputs) {
          const error = failure(crypto.readCertificate(input));
          expect(error).toMatchObject({ code: 'certificate_invalid', field: 'certificate' });
          expect(error.message).toMatch(/^[^\n]+$/);
        }
      });

      it('does not follow later changes of its input', async () => {
        const crypto = open();
        const input = new Uint8Array(new X509Certificate(await sampleCertificate({})).raw);
        const certificate = value(crypto.readCertificate(input));
        const before = hex(certificate.der);
        input.fill(0);
        expect(hex(certificate.der)).toBe(before);
      });

      it('reads many certificates one after the other, and each as itself', async () => {
        const crypto = open();
        const { raw } = new X509Certificate(await sampleCertificate({ commonNames: ['n0000'] }));
        const named = (name: string) =>
          Buffer.from(raw.toString('latin1').replaceAll('n0000', name), 'latin1');
        const names = Array.from({ length: 1_500 }, (_, i) => `n${1000 + i}`);
        for (const round of [1, 2])
          expect(
            names.map((name) => value(crypto.readCertificate(named(name))).commonName),
            `round ${round}`,
          ).toEqual(names);
      });
    });

    describe('certificates of X.509 version 1', () => {
      const [caKey, leafKey] = [rsaKey(2048), rsaKey(2048)];
      const issuer = { issuer: 'Old CA', issuerKey: caKey };
      const root = version1Certificate({ serial: 1, subject: 'Old CA', subjectKey: caKey, ...issuer });
      const leaf = version1Certificate({ serial: 10, subject: 'web-01', subjectKey: leafKey, ...issuer });
      const impostor = version1Certificate({ serial: 2, subject: 'Old CA', subjectKey: leafKey, ...issuer });
      const read = (pem: string) => value(open().readCertificate(pem));

      it('are read, without names and with any usage', () => {
        const nothing = { dnsNames: [], uris: [], usages: undefined };
        expect(read(leaf)).toMatchObject({ ...nothing, serial: 'a', commonName: 'web-01', isCa: false });
        expect(read(root)).toMatchObject({ ...nothing, serial: '1', commonName: 'Old CA', isCa: true });
      });

      it('only the one that signed itself is a CA', () => {
        expect(read(impostor).isCa).toBe(false);
        expect(open().issuedBy(read(leaf), read(root))).toBe(true);
        expect(open().issuedBy(read(root), read(leaf))).toBe(false);
        expect(open().issuedBy(read(leaf), read(impostor))).toBe(false);
      });
    });

    it('any change of a byte of a certificate is answered, never thrown', async () => {
      const crypto = open();
      const key = rsaKey(2048);
      const names = { subject: 'a', issuer: 'a' };
      const pems = [
        await sampleCertificate({
          extensions: [subjectAltName(dnsName('a')), new ExtendedKeyUsageExtension(['1.2.3'])],
        }),
        version1Certificate({ serial: 1, ...names, subjectKey: key, issuerKey: key }),
      ];
      for (const pem of pems) {
        const { raw } = new X509Certificate(pem);
        for (let position = 0; position < raw.length; position++) {
          const changed = Uint8Array.from(raw);
          changed[position] = (changed[position] ?? 0) ^ 0x81;
          const read = crypto.readCertificate(changed);
          if (read.isOk()) expect(hex(read.value.der)).toBe(hex(changed));
        }
      }
    });

    describe('issuedBy', () => {
      it('a CA issued itself, a certificate that is no CA issued nothing', async () => {
        const crypto = open();
        const read = async (ca: boolean) =>
          value(
            crypto.readCertificate(
              await sampleCertificate({ extensions: [new BasicConstraintsExtension(ca, undefined, true)] }),
            ),
          );
        const [ca, plain] = [await read(true), await read(false)];
        expect(crypto.issuedBy(ca, ca)).toBe(true);
        expect(crypto.issuedBy(plain, plain)).toBe(false);
      });

      it('a CA of the same name with another key issued nothing of it', async () => {
        const crypto = open();
        const make = async () =>
          value(
            crypto.readCertificate(
              await sampleCertificate({ extensions: [new BasicConstraintsExtension(true, undefined, true)] }),
            ),
          );
        const [a, b] = [await make(), await make()];
        expect(crypto.issuedBy(a, b)).toBe(false);
        expect(crypto.issuedBy({ ...a }, { ...a })).toBe(true);
        expect(crypto.issuedBy({ ...a, der: new Uint8Array(3) }, a)).toBe(false);
      });
    });
  });
}

function signedAnyway(digest: string | null, key: { key: string; dsaEncoding: 'der' | 'ieee-p1363' }) {
  try {
    return new Uint8Array(sign(digest, text('data'), key));
  } catch {
    return new Uint8Array(64);
  }
}
