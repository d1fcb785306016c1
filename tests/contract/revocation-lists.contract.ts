import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Certificate } from '../../src/domain/trust/certificate.js';
import { maxRevoked } from '../../src/domain/trust/revocation-list.js';
import type { RevocationLists } from '../../src/ports/revocation-lists.js';
import { failure, value } from './result.js';
import {
  crlNumber,
  ecdsa,
  entry,
  extension,
  generalizedTime,
  integer,
  type ListSample,
  large,
  nameOf,
  pemOf,
  sampleList,
  utcTime,
} from './revocation-list-samples.js';

/** A CA that lists are signed with. */
export interface TestCa {
  /** PKCS#8 PEM. */
  readonly key: string;
  readonly certificate: Certificate;
}

/**
 * What holds for every `RevocationLists`. `ca` and `other` have P-384 keys, `rsa` an RSA key and a certificate of version
 * 1; the certificate of `mayNotSign` has a key usage without CRL signing (RFC 5280, 4.2.1.3).
 */
export function revocationListsContract(
  name: string,
  open: () => RevocationLists,
  make: () => Promise<{ ca: TestCa; other: TestCa; rsa: TestCa; mayNotSign: TestCa }>,
): void {
  describe(`revocation lists: ${name}`, () => {
    const cas = make();
    const sample = async (says: Partial<ListSample> = {}) => {
      const { ca } = await cas;
      return sampleList({ name: nameOf(ca.certificate), key: ca.key, ...says });
    };
    const read = async (pem: string, ...trusted: Certificate[]) =>
      open().read(pem, trusted.length > 0 ? trusted : [(await cas).ca.certificate]);
    const good = async (says: Partial<ListSample> = {}) => value(await read(pemOf(await sample(says))));
    const reasonOf = async (pem: string, ...trusted: Certificate[]) => {
      const error = failure(await read(pem, ...trusted));
      expect(error.code).toBe('certificate_invalid');
      expect(error.message).toBe(`revocation list cannot be used: ${error.reason}`);
      expect(error.message).not.toContain('\n');
      return error.reason;
    };
    const refused = async (says: Partial<ListSample>) => reasonOf(pemOf(await sample(says)));

    it('tells number, CA, time and what is revoked', async () => {
      const { ca } = await cas;
      const entries = [entry('10'), entry('00ab01', generalizedTime('20500101000000Z'))];
      const bytes = await sample({ entries, extensions: [crlNumber('0102')] });
      expect(value(await read(pemOf(bytes)))).toEqual({
        pem: pemOf(bytes),
        number: 258,
        issuerSpkiSha256: createHash('sha256').update(ca.certificate.spki).digest('hex'),
        thisUpdate: Date.parse('2025-01-01T00:00:00Z'),
        revoked: [
          { serial: '10', revokedAt: Date.parse('2025-01-02T03:04:05Z') },
          { serial: 'ab01', revokedAt: Date.parse('2050-01-01T00:00:00Z') },
        ],
      });
    });

    it('a list without entries revokes nothing', async () => {
      expect(await good()).toMatchObject({ number: 7, revoked: [] });
    });

    it('also reads the label CRL, other line ends and space around, and gives the same text for them', async () => {
      const bytes = await sample({ entries: [entry('10')] });
      const pem = pemOf(bytes);
      for (const text of [
        pemOf(bytes, 'CRL'),
        pem.replaceAll('\n', '\r\n'),
        `\n ${pem}\n\n`,
        pem.trimEnd(),
        pem.replaceAll(/(?<!-)\n(?!-)/g, ''),
      ])
        expect(value(await read(text)).pem).toBe(pem);
    });

    it('refuses what is not exactly one PEM block', async () => {
      const bytes = await sample();
      const pem = pemOf(bytes);
      for (const text of [
        '',
        'hello',
        pem + pem,
        `${pem}x`,
        `x${pem}`,
        pemOf(bytes, 'CERTIFICATE'),
        pem.replace('END X509 CRL', 'END CRL'),
        pem.replace('-----END X509 CRL-----', ''),
        pem.replace('\n', ''),
        pem.replace(/\n..../, '\n####'),
        '-----BEGIN X509 CRL-----\n-----END X509 CRL-----',
        '-----BEGIN X509 CRL-----END X509 CRL-----',
        '-----BEGIN X509 CRL-----\n'.repeat(1000),
      ])
        expect(await reasonOf(text), text.slice(0, 60)).toContain('PEM');
    });

    it('16 MiB are read, more is refused', async () => {
      const pem = pemOf(await sample());
      const padded = (length: number) => pem + ' '.repeat(length - pem.length);
      expect((await read(padded(16 * 1024 * 1024))).isOk()).toBe(true);
      expect(await reasonOf(padded(16 * 1024 * 1024 + 1))).toContain('16777216');
    });

    describe('signature', () => {
      it('finds the CA among several, also an RSA one of version 1', async () => {
        const { ca, other, rsa } = await cas;
        const algorithm = '300d06092a864886f70d01010b0500';
        const says = { name: nameOf(rsa.certificate), key: rsa.key, digest: 'sha256', algorithm };
        const list = value(
          await read(pemOf(sampleList(says)), ca.certificate, other.certificate, rsa.certificate),
        );
        expect(list.issuerSpkiSha256).toBe(createHash('sha256').update(rsa.certificate.spki).digest('hex'));
      });

      it('of another CA, or in the name of another, does not count', async () => {
        const { ca, other } = await cas;
        const foreign = sampleList({ name: nameOf(other.certificate), key: other.key });
        expect(await reasonOf(pemOf(foreign))).toBe('is of another CA');
        expect(await reasonOf(pemOf(await sample({ key: other.key })))).toBe('its signature is wrong');
        expect(
          await reasonOf(pemOf(await sample({ key: other.key })), other.certificate, ca.certificate),
        ).toBe('its signature is wrong');
        expect(failure(await open().read(pemOf(await sample()), [])).reason).toBe('is of another CA');
      });

      it('of a CA that may not sign lists, or of a certificate that is no CA, does not count', async () => {
        const { ca, mayNotSign } = await cas;
        const { certificate, key } = mayNotSign;
        expect(await reasonOf(pemOf(sampleList({ name: nameOf(certificate), key })), certificate)).toContain(
          'key usage',
        );
        expect(await reasonOf(pemOf(await sample()), { ...ca.certificate, isCa: false })).toBe(
          'is of another CA',
        );
      });

      it('with SHA-1, or with two algorithms named, is refused', async () => {
        const weak = { digest: 'sha1', algorithm: ecdsa.sha1 };
        expect(await refused(weak)).toContain('signature algorithm');
        expect(await refused({ innerAlgorithm: ecdsa.sha1 })).toContain('two signature algorithms');
      });

      it('breaks with any change of a byte', async () => {
        const bytes = await sample({ entries: [entry('10')] });
        for (let position = 0; position < bytes.length; position += 1)
          for (const bit of [0x01, 0x80]) {
            const changed = Buffer.from(bytes);
            changed[position] = (changed[position] ?? 0) ^ bit;
            expect((await read(pemOf(changed))).isErr(), `byte ${position}`).toBe(true);
          }
      });
    });

    describe('dates', () => {
      it('are not judged: a list from long ago, or from the future, is read', async () => {
        for (const [from, until] of [
          [utcTime('700101000000Z'), utcTime('700102000000Z')],
          [generalizedTime('20990101000000Z'), generalizedTime('99991231235959Z')],
        ] as const)
          expect((await good({ dates: [from, until] })).number).toBe(7);
        expect((await good({ dates: [utcTime('240229000000Z')] })).thisUpdate).toBe(Date.UTC(2024, 1, 29));
      });

      it.each([
        '251301000000Z',
        '250001000000Z',
        '250230000000Z',
        '250229000000Z',
        '250100000000Z',
        '250101240000Z',
        '250101006000Z',
        '250101000060Z',
        '2501010000Z',
        '250101000000',
        '250101000000+0000',
        '2501010000-1Z',
        '20250101000000Z',
        '',
      ])('UTCTime "%s" is refused, in the list and in an entry', async (text) => {
        expect(await refused({ dates: [utcTime(text)] })).toContain('no dates');
        expect(await refused({ dates: [utcTime('250101000000Z'), utcTime(text)] })).toContain('no dates');
        expect(await refused({ entries: [entry('10', utcTime(text))] })).toContain('entry 1 has no date');
      });

      it.each(['20250101000000Z', '20500101000000.5Z', '00500101000000Z', '205001010000Z', '500101000000Z'])(
        'GeneralizedTime "%s" is refused',
        async (text) => {
          expect(await refused({ dates: [generalizedTime(text)] })).toContain('no dates');
        },
      );

      it('none at all is refused', async () => {
        expect(await refused({ dates: [] })).toContain('no dates');
      });
    });

    describe('number', () => {
      it.each([
        ['00', 0],
        ['7f', 127],
        ['0080', 128],
        ['1fffffffffffff', Number.MAX_SAFE_INTEGER],
      ])('%s is read', async (digits, number) => {
        expect((await good({ extensions: [crlNumber(digits)] })).number).toBe(number);
      });

      it.each([
        ['20000000000000', 'above'],
        [`7f${'ff'.repeat(19)}`, 'above'],
        [`7f${'ff'.repeat(20)}`, 'malformed'],
        [`7f${'ff'.repeat(1000)}`, 'malformed'],
        ['ff', 'negative'],
        ['80', 'negative'],
        ['0001', 'malformed'],
        ['', 'malformed'],
      ])('%s is refused', async (digits, reason) => {
        expect(await refused({ extensions: [crlNumber(digits)] })).toContain(reason);
      });

      it('without one, and of another version, a list is refused', async () => {
        const other = extension('551d12', Buffer.from('3000', 'hex'));
        expect(await refused({ extensions: [other] })).toContain('number');
        expect(await refused({ extensions: undefined })).toContain('no extensions');
        expect(await refused({ version: integer('00') })).toContain('version 2');
        expect(await refused({ version: integer('02') })).toContain('version 2');
        expect(await refused({ version: Buffer.alloc(0) })).toContain('version 2');
      });
    });

    describe('extensions', () => {
      const value = Buffer.from('3000', 'hex');

      it('that are unknown are fine unless they are critical', async () => {
        const unknown = (critical?: number) => extension('2a0304', value, critical);
        expect((await good({ extensions: [crlNumber(), unknown()] })).number).toBe(7);
        expect((await good({ extensions: [crlNumber(), unknown(0x00)] })).number).toBe(7);
        expect(await refused({ extensions: [crlNumber(), unknown(0xff)] })).toContain('critical');
        expect(await refused({ extensions: [crlNumber(), unknown(0x01)] })).toContain('malformed');
        expect((await good({ entries: [entry('10', undefined, unknown())] })).revoked).toHaveLength(1);
        expect(await refused({ entries: [entry('10', undefined, unknown(0xff))] })).toContain('critical');
      });

      it('that say delta, indirect or partitioned are refused, critical or not', async () => {
        for (const critical of [undefined, 0xff]) {
          const with_ = (id: string) => ({ extensions: [crlNumber(), extension(id, value, critical)] });
          expect(await refused(with_('551d1b'))).toContain('delta');
          expect(await refused(with_('551d1c'))).toContain('indirect');
          const foreign = extension('551d1d', value, critical);
          expect(await refused({ entries: [entry('10', undefined, foreign)] })).toContain('indirect');
        }
      });

      it('that occur twice or are malformed are refused', async () => {
        expect(await refused({ extensions: [crlNumber('01'), crlNumber('02')] })).toContain('twice');
        expect(await refused({ extensions: [crlNumber(), value] })).toContain('malformed');
        const reason = extension('551d15', Buffer.from('0a0101', 'hex'));
        expect((await good({ entries: [entry('10', undefined, reason)] })).revoked).toHaveLength(1);
        expect(await refused({ entries: [entry('10', undefined, reason, reason)] })).toContain('entry 1');
      });
    });

    describe('entries', () => {
      it.each(['00', 'ff', '80', '0001', '', `7f${'ff'.repeat(20)}`, `7f${'ff'.repeat(900)}`])(
        'a serial of bytes %s is refused',
        async (digits) => {
          expect(await refused({ entries: [entry('10'), entry(digits)] })).toContain('entry 2 has no serial');
        },
      );

      it('a serial of 20 bytes is read', async () => {
        for (const digits of [`7f${'ff'.repeat(19)}`, `00${'ff'.repeat(20)}`]) {
          const { revoked } = await good({ entries: [entry(digits)] });
          expect(revoked[0]?.serial).toBe(digits.replace(/^00/, ''));
        }
      });

      it('what is not an entry is refused', async () => {
        const four = large(0x30, integer('10'), utcTime('250101000000Z'), large(0x30), large(0x30));
        for (const odd of [integer('10'), large(0x30), large(0x30, integer('10')), four])
          expect(await refused({ entries: [odd] })).toMatch(/entry/);
      });

      it(`${maxRevoked} are read, one more is refused`, async () => {
        const one = (_: unknown, n: number) => entry((0x10000000 + n).toString(16));
        const entries = Array.from({ length: maxRevoked }, one);
        const began = process.cpuUsage();
        const { revoked } = await good({ entries });
        const { user, system } = process.cpuUsage(began);
        expect(revoked).toHaveLength(maxRevoked);
        expect(revoked.at(-1)?.serial).toBe((0x10000000 + maxRevoked - 1).toString(16));
        expect((user + system) / 1e6).toBeLessThan(10);
        expect(await refused({ entries: [...entries, entry('10')] })).toContain(`${maxRevoked}`);
      }, 60_000);
    });

    describe('hostile bytes', () => {
      it('more behind the end, or fields that are not expected, are refused', async () => {
        const bytes = await sample();
        for (const more of ['00', '3000', '0500'])
          expect(await reasonOf(pemOf(Buffer.concat([bytes, Buffer.from(more, 'hex')])))).toContain(
            'well-formed',
          );
        for (const beyond of ['3000', '0500', 'a100', 'a000'])
          expect(await refused({ beyond: Buffer.from(beyond, 'hex') })).toContain('not expected');
      });

      it('lengths that are not the shortest, or indefinite, are refused', async () => {
        const long = Buffer.from('3081020500', 'hex');
        expect(await refused({ entries: [long] })).toContain('entry');
        const indefinite = Buffer.from('30800000', 'hex');
        expect((await read(pemOf(indefinite))).isErr()).toBe(true);
        expect(await refused({ entries: [indefinite] })).toContain('entry');
      });

      it('what nests deeply, or has millions of tiny elements, is refused at once', async () => {
        let deep = Buffer.alloc(0);
        for (let level = 0; level < 5000; level += 1) deep = large(0x30, deep) as Buffer<ArrayBuffer>;
        const tiny = Buffer.alloc(11_000_000, Buffer.from('0500', 'hex'));
        const began = performance.now();
        for (const bytes of [deep, large(0x30, tiny), large(0x30, large(0x30, tiny)), tiny])
          expect((await read(pemOf(bytes))).isErr()).toBe(true);
        expect(await refused({ entries: [tiny] })).toContain('entry');
        expect(await refused({ beyond: tiny })).toContain('well-formed');
        expect(await refused({ entries: [deep] })).toContain('entry');
        expect(performance.now() - began).toBeLessThan(30_000);
      }, 60_000);

      it('whatever is signed, and whatever is not, gives an answer', async () => {
        await fc.assert(
          fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (noise, signed) => {
            const bytes = signed
              ? await sample({ beyond: Buffer.from(noise) })
              : large(0x30, Buffer.from(noise));
            const outcome = await read(pemOf(bytes));
            expect(outcome.isErr()).toBe(!(signed && noise.length === 0));
          }),
          { numRuns: 200 },
        );
      }, 60_000);
    });
  });
}
