import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { errAsync, okAsync } from 'neverthrow';
import { beforeAll, describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../src/domain/core/errors.js';
import type { Certificate, CertificateProfile } from '../../src/domain/trust/certificate.js';
import { caEndorsementMessage } from '../../src/domain/trust/lifecycle.js';
import { maxRevoked } from '../../src/domain/trust/revocation-list.js';
import type { CertificateAuthority } from '../../src/ports/certificate-authority.js';
import type { Crypto } from '../../src/ports/crypto.js';
import type { KeyStore } from '../../src/ports/key-store.js';
import { refusedKeys, rsaKey, version1Certificate } from './certificate-samples.js';
import { failure, value } from './result.js';

const day = 86_400_000;
const start = Date.parse('2025-03-01T12:00:00.789Z');
const tenYears = { notBefore: start, notAfter: start + 3650 * day };
const oneYear = { notBefore: start + day, notAfter: start + 366 * day };

const profiles: readonly CertificateProfile[] = [
  { kind: 'dispatcher', dispatcherId: 'control.example.org' },
  { kind: 'pairing', dispatcherId: 'Control_1' },
  { kind: 'agent', name: 'web-01.example.org' },
];

const spkiOf = (pem: string) =>
  new Uint8Array(createPublicKey(createPrivateKey(pem)).export({ type: 'spki', format: 'der' }));

/** How an authority is made, over which key store. */
export interface AuthorityUnderTest {
  /** An empty one. */
  keyStore(): KeyStore;
  /** The authority whose key and certificate are in that store. */
  open(keyStore: KeyStore): CertificateAuthority;
  /** Any that holds to its own contract: it judges what the authority has signed. */
  crypto: Crypto;
}

/** What holds for every `CertificateAuthority`. */
export function certificateAuthorityContract(
  name: string,
  { keyStore, open, crypto }: AuthorityUnderTest,
): void {
  describe(`certificate authority: ${name}`, () => {
    const agentKey = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey.export({
      type: 'spki',
      format: 'der',
    });
    const spki = new Uint8Array(agentKey);
    const agent: CertificateProfile = { kind: 'agent', name: 'web-01' };
    const store = keyStore();
    const authority = open(store);
    let ca: Certificate;
    beforeAll(async () => {
      ca = value(await authority.create(tenYears));
    });

    describe('create', () => {
      it('makes a CA certificate with a P-384 key, in whole seconds', () => {
        expect(ca).toMatchObject({
          commonName: expect.stringMatching(/^ctrl-exec CA [0-9a-f]{8}$/),
          isCa: true,
          dnsNames: [],
          uris: [],
          usages: undefined,
          notBefore: Date.parse('2025-03-01T12:00:00Z'),
          notAfter: Math.floor(tenYears.notAfter / 1000) * 1000,
        });
        expect(crypto.issuedBy(ca, ca)).toBe(true);
      });

      it('stores key and certificate, which belong together', async () => {
        const items = value(await store.read(['ca-key', 'ca-certificate']));
        expect(items['ca-certificate']).toBe(ca.pem);
        const key = value(crypto.signingKey(items['ca-key'] ?? ''));
        expect([key.algorithm, key.spki]).toEqual(['ecdsa-p384-sha384', ca.spki]);
      });

      it('never overwrites a CA', async () => {
        const before = value(await store.read(['ca-key', 'ca-certificate']));
        const error = failure(await authority.create(tenYears));
        expect(error).toMatchObject({ code: 'ca_exists', path: store.location('ca-key') });
        expect(value(await store.read(['ca-key', 'ca-certificate']))).toEqual(before);
      });

      it.each(['ca-key', 'ca-certificate'] as const)('a lone %s is not overwritten either', async (item) => {
        const lone = keyStore();
        value(await lone.replace({ [item]: 'precious' }));
        expect(failure(await open(lone).create(tenYears)).code).toBe('ca_exists');
        const items = value(await lone.read(['ca-key', 'ca-certificate']));
        expect(items).toEqual({ 'ca-key': undefined, 'ca-certificate': undefined, [item]: 'precious' });
      });

      it.each([
        ['the end before the beginning', { notBefore: start, notAfter: start - 1 }],
        ['no time at all', { notBefore: start, notAfter: start + 100 }],
        ['not a number', { notBefore: start, notAfter: Number.NaN }],
        ['after the year 9999', { notBefore: start, notAfter: 8.64e15 }],
      ])('refuses a validity with %s, and writes nothing', async (_what, validity) => {
        const empty = keyStore();
        expect(failure(await open(empty).create(validity)).code).toBe('crypto_failed');
        expect(value(await empty.read(['ca-key']))['ca-key']).toBeUndefined();
      });

      it('a store that cannot be written is file_failed', async () => {
        const error = errorOf('file_failed', 'disk full', {
          path: '/x',
          operation: 'write',
          reason: 'ENOSPC',
        });
        const full: KeyStore = { ...keyStore(), replace: () => errAsync(error) };
        expect(failure(await open(full).create(tenYears))).toEqual(error);
      });

      it('two CAs have different keys and serials', async () => {
        const other = value(await open(keyStore()).create(tenYears));
        expect(other.spki).not.toEqual(ca.spki);
        expect(other.serial).not.toBe(ca.serial);
      });
    });

    describe('certificates', () => {
      it('lists the set, current one first', async () => {
        const second = keyStore();
        const old = value(await open(second).create(tenYears));
        const both = keyStore();
        value(await both.replace({ 'ca-certificate': `${ca.pem}\n${old.pem}` }));
        const listed = value(await open(both).certificates());
        expect(listed.map(({ serial }) => serial)).toEqual([ca.serial, old.serial]);
      });

      it('is ca_missing where there is none', async () => {
        expect(failure(await open(keyStore()).certificates()).code).toBe('ca_missing');
      });

      it('refuses a set with anything broken or foreign in it', async () => {
        const leaf = value(await authority.issue(agent, spki, oneYear));
        for (const pem of [
          '',
          'hello',
          ca.pem + leaf.pem,
          `${ca.pem}-----BEGIN CERTIFICATE-----\nAAAA\n`,
          ca.pem.replace(/\n.{4}/, '\n####'),
        ]) {
          const broken = keyStore();
          value(await broken.replace({ 'ca-certificate': pem }));
          const error = failure(await open(broken).certificates());
          expect(error.code, pem).toBe('certificate_invalid');
          expect(error.message).toContain(broken.location('ca-certificate'));
        }
      });
    });

    describe('issue', () => {
      const issue = async (profile: CertificateProfile = agent, key = spki, validity = oneYear) =>
        value(await authority.issue(profile, key, validity));

      it.each([
        [
          profiles[0],
          {
            commonName: 'control.example.org',
            dnsNames: [],
            uris: ['ctrl-exec:dispatcher:control.example.org'],
            usages: ['clientAuth'],
          },
        ],
        [
          profiles[1],
          {
            commonName: 'Control_1',
            dnsNames: [],
            uris: ['ctrl-exec:pairing:Control_1'],
            usages: ['serverAuth'],
          },
        ],
        [
          profiles[2],
          {
            commonName: 'web-01.example.org',
            dnsNames: ['web-01.example.org'],
            uris: ['ctrl-exec:agent:web-01.example.org'],
            usages: ['serverAuth'],
          },
        ],
      ])(
        'a certificate of profile %j carries exactly its names and its one usage',
        async (profile = agent, expected) => {
          const certificate = await issue(profile);
          expect(certificate).toMatchObject({
            ...expected,
            isCa: false,
            spki,
            notBefore: Math.floor(oneYear.notBefore / 1000) * 1000,
            notAfter: Math.floor(oneYear.notAfter / 1000) * 1000,
          });
          expect(crypto.issuedBy(certificate, ca)).toBe(true);
          expect(value(crypto.readCertificate(certificate.pem))).toEqual(certificate);
        },
      );

      it('serials have 16 bytes, a first byte of 0x10–0x7f and a digit a–f, and are never the same', async () => {
        const serials: string[] = [];
        for (let round = 0; round < 200; round++) serials.push((await issue()).serial);
        for (const serial of serials) {
          expect(serial).toMatch(/^[1-7][0-9a-f]{31}$/);
          expect(serial).toMatch(/[a-f]/);
        }
        expect(new Set(serials).size).toBe(200);
      });

      it('a certificate never outlives its CA', async () => {
        const certificate = await issue(agent, spki, {
          notBefore: start,
          notAfter: tenYears.notAfter + 30 * day,
        });
        expect(certificate.notAfter).toBe(ca.notAfter);
      });

      it('nothing is issued once the CA has expired, or for no time', async () => {
        const after = { notBefore: ca.notAfter + 1000, notAfter: ca.notAfter + day };
        for (const validity of [
          after,
          { notBefore: start, notAfter: start },
          { notBefore: Number.NaN, notAfter: start },
        ])
          expect(failure(await authority.issue(agent, spki, validity))).toMatchObject({
            code: 'certificate_invalid',
            field: 'validity',
          });
      });

      it.each(Object.entries(refusedKeys()))('no certificate for a key of type %s', async (_type, pem) => {
        expect(failure(await authority.issue(agent, spkiOf(pem), oneYear))).toMatchObject({
          code: 'certificate_invalid',
          field: 'public key',
        });
      });

      it('no certificate for bytes that are not a key', async () => {
        for (const bytes of [
          new Uint8Array(),
          spki.subarray(1),
          spki.map((byte, i) => (i > 40 ? byte ^ 0xff : byte)),
        ])
          expect(failure(await authority.issue(agent, bytes, oneYear)).code).toBe('certificate_invalid');
      });

      it('is ca_missing without the key or without the certificate', async () => {
        const items = value(await store.read(['ca-key', 'ca-certificate']));
        for (const item of ['ca-key', 'ca-certificate'] as const) {
          const half = keyStore();
          value(await half.replace({ [item]: items[item] ?? '' }));
          expect(failure(await open(half).issue(agent, spki, oneYear)).code).toBe('ca_missing');
        }
      });

      it('refuses a key that is not that of the CA certificate, or that is unreadable, without repeating it', async () => {
        const foreign = value(await crypto.generateKey('p384'));
        for (const key of [foreign, foreign.replace(/\n.{4}/, '\n####'), refusedKeys()['RSA-1024']]) {
          const mixed = keyStore();
          value(await mixed.replace({ 'ca-key': key, 'ca-certificate': ca.pem }));
          const error = failure(await open(mixed).issue(agent, spki, oneYear));
          expect(error.code).toBe('certificate_invalid');
          expect(error.message).toContain(mixed.location('ca-key'));
          expect(error.message).not.toContain(key.split('\n')[1]?.slice(4, 14) ?? key);
        }
      });

      it('issues under the first of several CAs', async () => {
        const items = value(await store.read(['ca-key']));
        const old = value(await open(keyStore()).create(tenYears));
        const both = keyStore();
        value(await both.replace({ 'ca-key': items['ca-key'] ?? '', 'ca-certificate': ca.pem + old.pem }));
        const certificate = value(await open(both).issue(agent, spki, oneYear));
        expect(crypto.issuedBy(certificate, ca)).toBe(true);
        expect(crypto.issuedBy(certificate, old)).toBe(false);
      });

      it('works with an imported CA: RSA-4096, X.509 version 1', async () => {
        const key = rsaKey(4096);
        const subject = { subject: 'Imported CA', issuer: 'Imported CA' };
        const pem = version1Certificate({ serial: 1, ...subject, subjectKey: key, issuerKey: key });
        const imported = keyStore();
        value(await imported.replace({ 'ca-key': key, 'ca-certificate': pem }));
        const [old] = value(await open(imported).certificates());
        const certificate = value(await open(imported).issue(agent, spki, oneYear));
        expect(crypto.issuedBy(certificate, old ?? ca)).toBe(true);
        expect(certificate).toMatchObject({ commonName: 'web-01', usages: ['serverAuth'], isCa: false });
      });

      it('writes nothing', async () => {
        const watched: KeyStore = {
          ...store,
          replace: () => okAsync(expect.fail('nothing is to be written')),
        };
        expect((await open(watched).issue(agent, spki, oneYear)).isOk()).toBe(true);
      });
    });

    describe('revocationList', () => {
      const lists = { thisUpdate: start, nextUpdate: start + 30 * day };
      const revokedAt = Date.parse('2025-03-02T00:00:00Z');

      it('lists the whole of what is revoked, each serial once, lowest first', async () => {
        const list = value(
          await authority.revocationList({
            ...lists,
            number: 12,
            revoked: [
              { serial: 'ff00', revokedAt: revokedAt + 999 },
              { serial: 'abc', revokedAt: revokedAt + 5000 },
              { serial: 'a', revokedAt },
              { serial: 'abc', revokedAt: revokedAt + 2000 },
              { serial: 'f'.repeat(40), revokedAt: Date.UTC(2060, 0) },
            ],
          }),
        );
        expect(list).toEqual({
          pem: expect.stringMatching(/^-----BEGIN X509 CRL-----\n([^-\n]{1,64}\n)+-----END X509 CRL-----\n$/),
          dispatcherId: undefined,
          number: 12,
          issuerSpkiSha256: Buffer.from(crypto.sha256(ca.spki)).toString('hex'),
          thisUpdate: Math.floor(start / 1000) * 1000,
          revoked: [
            { serial: 'a', revokedAt },
            { serial: 'abc', revokedAt: revokedAt + 2000 },
            { serial: 'ff00', revokedAt },
            { serial: 'f'.repeat(40), revokedAt: Date.UTC(2060, 0) },
          ],
        });
      });

      it('names its dispatcher', async () => {
        const list = { ...lists, dispatcherId: 'ctl-01.example', number: 1, revoked: [] };
        expect(value(await authority.revocationList(list)).dispatcherId).toBe('ctl-01.example');
      });

      it('of nobody has no entries, and 0 is a number', async () => {
        const list = value(await authority.revocationList({ ...lists, number: 0, revoked: [] }));
        expect(list).toMatchObject({ number: 0, revoked: [] });
      });

      it.each([
        ['number', { number: -1 }],
        ['number', { number: 1.5 }],
        ['number', { number: 2 ** 53 }],
        ['number', { number: Number.NaN }],
        ['validity', { nextUpdate: start }],
        ['validity', { thisUpdate: Number.NaN }],
        ['validity', { nextUpdate: 8.64e15 }],
        ['revoked', { revoked: [{ serial: '0a', revokedAt }] }],
        ['revoked', { revoked: [{ serial: 'A', revokedAt }] }],
        ['revoked', { revoked: [{ serial: '0', revokedAt }] }],
        ['revoked', { revoked: [{ serial: '', revokedAt }] }],
        ['revoked', { revoked: [{ serial: 'f'.repeat(41), revokedAt }] }],
        ['revoked', { revoked: [{ serial: 'a', revokedAt: Number.NaN }] }],
        ['revoked', { revoked: [{ serial: 'a', revokedAt: -1000 }] }],
      ])('refuses %s of %j', async (field, wrong) => {
        const list = { ...lists, number: 1, revoked: [], ...wrong };
        expect(failure(await authority.revocationList(list))).toMatchObject({
          code: 'certificate_invalid',
          field,
        });
      });

      it(`takes ${maxRevoked} entries and no more`, async () => {
        const revoked = Array.from({ length: maxRevoked }, (_, n) => ({
          serial: (n + 1).toString(16),
          revokedAt,
        }));
        const list = value(await authority.revocationList({ ...lists, number: 1, revoked }));
        expect(list.revoked).toEqual(revoked);
        const more = [...revoked, { serial: 'f'.repeat(20), revokedAt }];
        expect(failure(await authority.revocationList({ ...lists, number: 1, revoked: more }))).toMatchObject(
          { code: 'certificate_invalid', field: 'revoked' },
        );
      }, 60_000);

      it('works with an imported CA: RSA-4096, X.509 version 1', async () => {
        const key = rsaKey(4096);
        const subject = { subject: 'Imported CA', issuer: 'Imported CA' };
        const pem = version1Certificate({ serial: 1, ...subject, subjectKey: key, issuerKey: key });
        const imported = keyStore();
        value(await imported.replace({ 'ca-key': key, 'ca-certificate': pem }));
        const revoked = [{ serial: 'abc', revokedAt }];
        const list = value(await open(imported).revocationList({ ...lists, number: 3, revoked }));
        expect(list).toMatchObject({ number: 3, revoked });
      }, 60_000);

      it('is ca_missing without a CA, and of the previous one while none is being replaced', async () => {
        const list = { ...lists, number: 1, revoked: [] };
        expect(failure(await open(keyStore()).revocationList(list)).code).toBe('ca_missing');
        const error = failure(await authority.revocationList(list, 'previous'));
        expect(error.code).toBe('ca_missing');
        expect(error.message).toContain('previous');
      });

      it('stores nothing', async () => {
        const watched: KeyStore = {
          ...store,
          replace: () => okAsync(expect.fail('nothing is to be written')),
        };
        const list = { ...lists, number: 1, revoked: [] };
        expect((await open(watched).revocationList(list)).isOk()).toBe(true);
      });
    });

    describe('replacing the CA', () => {
      const documents = ['ca-key', 'ca-certificate', 'ca-previous-key'] as const;
      const elevenYears = { notBefore: start + day, notAfter: start + 4000 * day };
      const list = { number: 1, revoked: [], thisUpdate: start, nextUpdate: start + 30 * day };
      const replaced = async () => {
        const target = keyStore();
        const before = value(await open(target).create(tenYears));
        const key = value(await target.read(documents))['ca-key'];
        const next = value(await open(target).succeed(elevenYears));
        return { target, authority: open(target), before, key, next };
      };

      it('the former one vouches for the new one, as long as both are there', async () => {
        const { authority: both, before, next } = await replaced();
        const signature = value(await both.endorsement());
        const message = caEndorsementMessage(next.der);
        expect(crypto.verify(before.spki, message, signature ?? new Uint8Array())).toBe(true);
        expect(crypto.verify(next.spki, message, signature ?? new Uint8Array())).toBe(false);
        value(await both.retirePrevious());
        expect(value(await both.endorsement())).toBeUndefined();
      });

      it('keeps both in force, the new one first, with both keys', async () => {
        const { target, authority: both, before, key, next } = await replaced();
        expect(next).toMatchObject({
          isCa: true,
          notBefore: Math.floor(elevenYears.notBefore / 1000) * 1000,
        });
        expect(next.spki).not.toEqual(before.spki);
        expect(next.commonName).not.toBe(before.commonName);
        expect(value(await both.certificates())).toEqual([next, before]);
        const items = value(await target.read(documents));
        expect(items['ca-previous-key']).toBe(key);
        expect(items['ca-certificate']).toBe(next.pem + before.pem);
        expect(value(crypto.signingKey(items['ca-key'] ?? '')).spki).toEqual(next.spki);
      });

      it('the new one issues and lists, the previous one where it is asked for', async () => {
        const { authority: both, before, next } = await replaced();
        const print = ({ spki: key }: Certificate) => Buffer.from(crypto.sha256(key)).toString('hex');
        for (const [issuer, by, other] of [
          [undefined, next, before],
          ['current', next, before],
          ['previous', before, next],
        ] as const) {
          const issued = value(await both.issue(agent, spki, oneYear, issuer));
          expect(crypto.issuedBy(issued, by)).toBe(true);
          expect(crypto.issuedBy(issued, other)).toBe(false);
          const { issuerSpkiSha256 } = value(await both.revocationList(list, issuer));
          expect(issuerSpkiSha256).toBe(print(by));
        }
        const long = { notBefore: start + day, notAfter: start + 9999 * day };
        expect(value(await both.issue(agent, spki, long, 'previous')).notAfter).toBe(before.notAfter);
      });

      it('is written at once, or not at all', async () => {
        const target = keyStore();
        value(await open(target).create(tenYears));
        const changes: string[][] = [];
        const watched: KeyStore = {
          ...target,
          replace: (change, options) => {
            changes.push(Object.keys(change).sort());
            return target.replace(change, options);
          },
        };
        value(await open(watched).succeed(elevenYears));
        value(await open(watched).retirePrevious());
        expect(changes).toEqual([[...documents].sort(), ['ca-certificate', 'ca-previous-key']]);
        const error = errorOf('file_failed', 'disk full', {
          path: '/x',
          operation: 'write',
          reason: 'ENOSPC',
        });
        const full: KeyStore = { ...target, replace: () => errAsync(error) };
        expect(failure(await open(full).succeed(elevenYears))).toEqual(error);
      });

      it('while there is a previous one there is no further one', async () => {
        const { target, authority: both } = await replaced();
        const before = value(await target.read(documents));
        expect(failure(await both.succeed(elevenYears))).toMatchObject({
          code: 'ca_exists',
          path: target.location('ca-previous-key'),
        });
        expect(value(await target.read(documents))).toEqual(before);
        await target.replace({ 'ca-previous-key': null });
        expect(failure(await both.succeed(elevenYears))).toMatchObject({
          code: 'ca_exists',
          path: target.location('ca-certificate'),
        });
      });

      it('retiring removes certificate and key of the previous one, and then another may follow', async () => {
        const { target, authority: both, key, next } = await replaced();
        const kept = value(await target.read(documents))['ca-key'];
        expect(kept).not.toBe(key);
        for (const _again of [1, 2]) {
          expect((await both.retirePrevious()).isOk()).toBe(true);
          expect(value(await target.read(documents))).toEqual({
            'ca-key': kept,
            'ca-certificate': next.pem,
            'ca-previous-key': undefined,
          });
        }
        expect(value(await both.certificates())).toEqual([next]);
        expect(failure(await both.issue(agent, spki, oneYear, 'previous')).code).toBe('ca_missing');
        const third = value(await both.succeed(elevenYears));
        expect(value(await both.certificates())).toEqual([third, next]);
      });

      it('without a previous one retiring writes nothing; without a CA both are ca_missing', async () => {
        const watched: KeyStore = {
          ...store,
          replace: () => okAsync(expect.fail('nothing is to be written')),
        };
        expect((await open(watched).retirePrevious()).isOk()).toBe(true);
        const empty = open(keyStore());
        expect(failure(await empty.retirePrevious()).code).toBe('ca_missing');
        expect(failure(await empty.succeed(elevenYears)).code).toBe('ca_missing');
        const keyless = keyStore();
        await keyless.replace({ 'ca-certificate': ca.pem });
        expect(failure(await open(keyless).succeed(elevenYears)).code).toBe('ca_missing');
      });

      it('a validity that cannot be is refused, and nothing changes', async () => {
        const target = keyStore();
        value(await open(target).create(tenYears));
        const before = value(await target.read(documents));
        const error = failure(await open(target).succeed({ notBefore: start, notAfter: start - 1 }));
        expect(error.code).toBe('crypto_failed');
        expect(value(await target.read(documents))).toEqual(before);
      });
    });
  });
}
