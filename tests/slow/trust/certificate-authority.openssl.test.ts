import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryKeyStore } from '../../../src/adapters/memory/key-store.js';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { systemRandom } from '../../../src/adapters/node-crypto/random.js';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { x509RevocationLists } from '../../../src/adapters/x509/revocation-lists.js';
import {
  type Certificate,
  type CertificateProfile,
  type KeyType,
  keyTypes,
} from '../../../src/domain/trust/certificate.js';
import { refusedKeys, rsaKey, version1Certificate } from '../../contract/certificate-samples.js';
import { failure, value } from '../../contract/result.js';
import { noOpenssl, tryOpenssl } from '../../support/network/openssl.js';

const start = Math.floor(Date.now() / 1000) * 1000;
const day = 86_400_000;
const tenYears = { notBefore: start - day, notAfter: start + 3650 * day };
const oneYear = { notBefore: start - 3_600_000, notAfter: start + 365 * day };

const profiles = {
  dispatcher: { kind: 'dispatcher', dispatcherId: 'control-01' },
  pairing: { kind: 'pairing', dispatcherId: 'control-01' },
  agent: { kind: 'agent', name: 'web-01.example.org' },
} as const satisfies Record<string, CertificateProfile>;

describe.skipIf(noOpenssl.missing)(`what openssl says${noOpenssl.because}`, () => {
  const crypto = nodeCrypto();
  const requests = x509CertificateRequests();
  let directory: string;
  let files = 0;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-openssl-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const file = (content = '') => {
    const path = join(directory, `${++files}.pem`);
    writeFileSync(path, content);
    return path;
  };
  const textOf = (certificate: Certificate) =>
    tryOpenssl(['x509', '-in', file(certificate.pem), '-noout', '-text']).text;
  const verifies = (certificate: Certificate, ca: Certificate, ...options: string[]) =>
    tryOpenssl(['verify', ...options, '-CAfile', file(ca.pem), file(certificate.pem)]).ok;

  const open = (keyStore = memoryKeyStore()) =>
    x509CertificateAuthority({ keyStore, random: systemRandom(), crypto });
  const spkiOf = async (type: KeyType) =>
    value(crypto.signingKey(value(await crypto.generateKey(type)))).spki;

  describe('of the CA', () => {
    it('it is version 3, P-384, signed with SHA-384, critical in its constraints, and verifies strictly', async () => {
      const ca = value(await open().create(tenYears));
      const text = textOf(ca);
      expect(text).toMatch(/Version: 3 \(0x2\)/);
      expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA384/);
      expect(text).toMatch(/NIST CURVE: P-384/);
      expect(text).toMatch(/Issuer: CN ?= ?ctrl-exec CA [0-9a-f]{8}\n/);
      expect(text).toMatch(/Subject: CN ?= ?ctrl-exec CA [0-9a-f]{8}\n/);
      expect(text).toMatch(/Basic Constraints: critical\n\s+CA:TRUE, pathlen:0\n/);
      expect(text).toMatch(/Key Usage: critical\n\s+Certificate Sign, CRL Sign\n/);
      expect(text).toMatch(/Subject Key Identifier: ?\n/);
      expect(verifies(ca, ca, '-x509_strict', '-check_ss_sig')).toBe(true);
    });
  });

  describe('of issued certificates', () => {
    const authority = open();
    let ca: Certificate;
    beforeAll(async () => {
      ca = value(await authority.create(tenYears));
    });
    const issue = async (profile: CertificateProfile, type: KeyType = 'p256') =>
      value(await authority.issue(profile, await spkiOf(type), oneYear));

    it.each([
      [
        'dispatcher',
        'sslclient',
        'sslserver',
        'TLS Web Client Authentication',
        'URI:ctrl-exec:dispatcher:control-01',
      ],
      [
        'pairing',
        'sslserver',
        'sslclient',
        'TLS Web Server Authentication',
        'URI:ctrl-exec:pairing:control-01',
      ],
      [
        'agent',
        'sslserver',
        'sslclient',
        'TLS Web Server Authentication',
        'DNS:web-01.example.org, URI:ctrl-exec:agent:web-01.example.org',
      ],
    ] as const)('a certificate for %s is good for %s, not for %s', async (kind, good, bad, usage, names) => {
      const certificate = await issue(profiles[kind]);
      expect(verifies(certificate, ca, '-x509_strict', '-purpose', good)).toBe(true);
      expect(verifies(certificate, ca, '-purpose', bad)).toBe(false);
      const lines = textOf(certificate)
        .split('\n')
        .map((line) => line.trim());
      const below = (title: string) => lines[lines.findIndex((line) => line.startsWith(title)) + 1];
      expect(below('X509v3 Extended Key Usage:')).toBe(usage);
      expect(below('X509v3 Subject Alternative Name:')).toBe(names);
      expect(below('X509v3 Basic Constraints: critical')).toBe('CA:FALSE');
      expect(below('X509v3 Key Usage: critical')).toBe('Digital Signature');
      expect(lines).toContain('X509v3 Authority Key Identifier:');
      expect(lines).toContain('X509v3 Subject Key Identifier:');
    });

    it.each(keyTypes)('a certificate over a %s key verifies strictly', async (type) => {
      expect(verifies(await issue(profiles.agent, type), ca, '-x509_strict', '-purpose', 'sslserver')).toBe(
        true,
      );
    });

    it('every signature of the CA is encoded correctly', async () => {
      const certificates = await Promise.all(Array.from({ length: 60 }, () => issue(profiles.agent)));
      const paths = certificates.map(({ pem }) => file(pem));
      const { text } = tryOpenssl(['verify', '-x509_strict', '-CAfile', file(ca.pem), ...paths]);
      expect(text.match(/: OK$/gm)).toHaveLength(60);
    });

    it('a certificate does not verify under another CA of the same name', async () => {
      const other = value(await open().create(tenYears));
      expect(verifies(await issue(profiles.agent), other)).toBe(false);
    });

    it('serial and fingerprint of the key are what openssl prints', async () => {
      const certificate = await issue(profiles.agent);
      const path = file(certificate.pem);
      const { text } = tryOpenssl(['x509', '-in', path, '-noout', '-serial']);
      expect(text.trim()).toBe(`serial=${certificate.serial.toUpperCase()}`);
      const key = tryOpenssl(['x509', '-in', path, '-noout', '-pubkey']).text.replaceAll(
        /-----[A-Z ]+-----|\s/g,
        '',
      );
      expect(Buffer.from(certificate.spki).toString('base64')).toBe(key);
    });
  });

  it('certificates of an imported RSA CA of version 1 verify', async () => {
    const key = rsaKey(4096);
    const names = { subject: 'Imported CA', issuer: 'Imported CA' };
    const pem = version1Certificate({ serial: 1, ...names, subjectKey: key, issuerKey: key });
    const keyStore = memoryKeyStore();
    await keyStore.replace({ 'ca-key': key, 'ca-certificate': pem });
    const [ca] = value(await open(keyStore).certificates());
    if (!ca) throw new Error('no CA');
    expect(textOf(ca)).toMatch(/Version: 1 \(0x0\)/);
    const certificate = value(await open(keyStore).issue(profiles.agent, await spkiOf('p256'), oneYear));
    expect(textOf(certificate)).toMatch(/Signature Algorithm: sha256WithRSAEncryption/);
    expect(verifies(certificate, ca, '-purpose', 'sslserver')).toBe(true);
    expect(verifies(certificate, ca, '-purpose', 'sslclient')).toBe(false);
  });

  it('a CA that openssl made, of version 3 with a long name, can issue', async () => {
    const keyPath = file(value(await crypto.generateKey('rsa4096')));
    const caPath = file();
    const subject = '/C=DE/O=Ünit & Söhne, "GmbH"/CN=Private CA';
    tryOpenssl([
      'req',
      '-x509',
      '-utf8',
      '-new',
      '-key',
      keyPath,
      '-sha256',
      '-days',
      '30',
      '-subj',
      subject,
      '-out',
      caPath,
    ]);
    const keyStore = memoryKeyStore();
    await keyStore.replace({
      'ca-key': readFileSync(keyPath, 'utf8'),
      'ca-certificate': readFileSync(caPath, 'utf8'),
    });
    const [ca] = value(await open(keyStore).certificates());
    if (!ca) throw new Error('no CA');
    const certificate = value(await open(keyStore).issue(profiles.dispatcher, await spkiOf('p256'), oneYear));
    expect(certificate.notAfter).toBe(ca.notAfter);
    expect(
      tryOpenssl(['verify', '-purpose', 'sslclient', '-CAfile', caPath, file(certificate.pem)]).text,
    ).toMatch(/: OK\n/);
  });

  describe('of revocation lists', () => {
    const lists = { number: 4660, thisUpdate: start - 60_000, nextUpdate: start + 30 * day };
    const imported = async (type: KeyType, ...extensions: string[]) => {
      const key = value(await crypto.generateKey(type));
      const path = file();
      const subject = '/C=DE/O=Ünit & Söhne/CN=Imported CA';
      const options = ['-utf8', '-days', '30', '-subj', subject, '-out', path, ...extensions];
      const made = tryOpenssl(['req', '-x509', '-new', '-key', file(key), ...options]);
      expect(made.ok, made.text).toBe(true);
      const keyStore = memoryKeyStore();
      await keyStore.replace({ 'ca-key': key, 'ca-certificate': readFileSync(path, 'utf8') });
      return { keyStore, authority: open(keyStore) };
    };
    /** A list over one of two certificates, and what openssl says of the list and of both. */
    const judged = async (authority: ReturnType<typeof open>) => {
      const [ca] = value(await authority.certificates());
      if (!ca) throw new Error('no CA');
      const issue = async () => value(await authority.issue(profiles.agent, await spkiOf('p256'), oneYear));
      const [good, bad] = [await issue(), await issue()];
      const revoked = [{ serial: bad.serial, revokedAt: start }];
      const list = value(await authority.revocationList({ ...lists, revoked }));
      const listPath = file(list.pem);
      const check = ({ pem }: Certificate) =>
        tryOpenssl(['verify', '-crl_check', '-CAfile', file(ca.pem), '-CRLfile', listPath, file(pem)]);
      return {
        ca,
        list,
        bad,
        text: tryOpenssl(['crl', '-in', listPath, '-noout', '-text']).text,
        signature: tryOpenssl(['crl', '-in', listPath, '-noout', '-verify', '-CAfile', file(ca.pem)]).text,
        goodSays: check(good).text,
        badSays: check(bad).text,
      };
    };

    it('ours is version 2, SHA-384, numbered, names its key, and refuses the one that it lists', async () => {
      const authority = open();
      await authority.create(tenYears);
      const { ca, bad, text, signature, goodSays, badSays } = await judged(authority);
      expect(text).toMatch(/Version 2 \(0x1\)/);
      expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA384/);
      expect(text).toContain(`Issuer: CN = ${ca.commonName}`);
      expect(text).toMatch(/X509v3 CRL Number: ?\n\s+4660\n/);
      expect(text).toContain(`Serial Number: ${bad.serial.toUpperCase()}`);
      const keyId = /Key Identifier: ?\n\s+(?:keyid:)?([0-9A-F:]+)\n/;
      expect(keyId.exec(text)?.[1]).toBe(keyId.exec(textOf(ca))?.[1]);
      expect(text).not.toContain('critical');
      expect(signature).toContain('verify OK');
      expect(goodSays).toMatch(/: OK\n/);
      expect(badSays).toContain('certificate revoked');
    });

    it.each(keyTypes)('of an imported CA with a %s key counts', async (type) => {
      const { authority } = await imported(type, '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
      const { signature, goodSays, badSays } = await judged(authority);
      expect(signature).toContain('verify OK');
      expect(goodSays).toMatch(/: OK\n/);
      expect(badSays).toContain('certificate revoked');
    });

    it('a CA whose key usage does not allow lists makes none', async () => {
      const { authority } = await imported('p256', '-addext', 'keyUsage=critical,keyCertSign');
      expect(failure(await authority.revocationList({ ...lists, revoked: [] })).message).toContain(
        'key usage',
      );
    });

    it('one without entries, and every signature, is well-formed', async () => {
      const authority = open();
      const ca = value(await authority.create(tenYears));
      for (let round = 0; round < 20; round += 1) {
        const list = value(await authority.revocationList({ ...lists, revoked: [] }));
        const { text } = tryOpenssl([
          'crl',
          '-in',
          file(list.pem),
          '-noout',
          '-text',
          '-verify',
          '-CAfile',
          file(ca.pem),
        ]);
        expect(text).toContain('verify OK');
        expect(text).toContain('No Revoked Certificates');
      }
    });

    it('one that openssl made is read', async () => {
      const { keyStore, authority } = await imported('p384');
      const [ca] = value(await authority.certificates());
      if (!ca) throw new Error('no CA');
      const items = value(await keyStore.read(['ca-key']));
      const index = file('R\t340101000000Z\t250102030405Z,keyCompromise\t0ABC\tunknown\t/CN=web-01\n');
      const configuration = file(
        `[ca]\ndefault_ca = own\n[own]\ndatabase = ${index}\ncrlnumber = ${file('1000\n')}\ndefault_md = sha384\n` +
          'default_crl_days = 30\ncrl_extensions = lists\n[lists]\nauthorityKeyIdentifier = keyid:always\n',
      );
      const made = file();
      const options = [
        '-config',
        configuration,
        '-cert',
        file(ca.pem),
        '-keyfile',
        file(items['ca-key']),
        '-out',
        made,
      ];
      const { ok, text } = tryOpenssl(['ca', '-gencrl', ...options]);
      expect(ok, text).toBe(true);
      const list = value(await x509RevocationLists({ crypto }).read(readFileSync(made, 'utf8'), [ca]));
      expect(list).toMatchObject({
        number: 0x1000,
        revoked: [{ serial: 'abc', revokedAt: Date.parse('2025-01-02T03:04:05Z') }],
      });
    });

    it('while a CA is being replaced, certificates and lists of both count against both', async () => {
      const authority = open();
      await authority.create(tenYears);
      await authority.succeed(tenYears);
      const cas = value(await authority.certificates());
      const bundle = file(cas.map(({ pem }) => pem).join(''));
      const listFile: string[] = [];
      const issued: { good: Certificate; bad: Certificate }[] = [];
      for (const issuer of ['current', 'previous'] as const) {
        const issue = async () =>
          value(await authority.issue(profiles.agent, await spkiOf('p256'), oneYear, issuer));
        const pair = { good: await issue(), bad: await issue() };
        const revoked = [{ serial: pair.bad.serial, revokedAt: start }];
        listFile.push(value(await authority.revocationList({ ...lists, revoked }, issuer)).pem);
        issued.push(pair);
      }
      const listPath = file(listFile.join(''));
      for (const { good, bad } of issued) {
        expect(tryOpenssl(['verify', '-x509_strict', '-CAfile', bundle, file(good.pem)]).text).toMatch(
          /: OK\n/,
        );
        const check = (pem: string) =>
          tryOpenssl(['verify', '-crl_check', '-CAfile', bundle, '-CRLfile', listPath, file(pem)]).text;
        expect(check(good.pem)).toMatch(/: OK\n/);
        expect(check(bad.pem)).toContain('certificate revoked');
      }
    });
  });

  describe('of requests', () => {
    it.each(keyTypes)('a request over a %s key verifies', async (type) => {
      const key = value(await crypto.generateKey(type));
      const path = file(value(await requests.create(key, 'wéb-01 "x", #1')));
      const { ok, text } = tryOpenssl([
        'req',
        '-in',
        path,
        '-verify',
        '-noout',
        '-subject',
        '-nameopt',
        'utf8',
      ]);
      expect(ok, text).toBe(true);
      expect(text).toMatch(/verify OK/);
      expect(text).toContain('CN=wéb-01 "x", #1');
    });

    const request = (keyPem: string, ...options: string[]) => {
      const path = file();
      const { ok, text } = tryOpenssl([
        'req',
        '-new',
        '-key',
        file(keyPem),
        '-subj',
        '/CN=web-01',
        '-out',
        path,
        ...options,
      ]);
      expect(ok, text).toBe(true);
      return readFileSync(path, 'utf8');
    };

    it.each(keyTypes)('a request that openssl made over a %s key is read', async (type) => {
      const key = value(await crypto.generateKey(type));
      expect(value(await requests.read(request(key))).spki).toEqual(value(crypto.signingKey(key)).spki);
    });

    it.each(['sha256', 'sha384', 'sha512'])('requests signed with %s are read', async (digest) => {
      for (const type of ['p256', 'p384', 'rsa2048'] as const) {
        const key = value(await crypto.generateKey(type));
        expect((await requests.read(request(key, `-${digest}`))).isOk(), type).toBe(true);
      }
    });

    it.each([
      ['rsa2048', 'sha1'],
      ['rsa2048', 'md5'],
      ['rsa2048', 'sha224'],
      ['p256', 'sha1'],
      ['p256', 'sha224'],
    ] as const)('a request over a %s key signed with %s is refused for that', async (type, digest) => {
      const key = value(await crypto.generateKey(type));
      const error = failure(await requests.read(request(key, `-${digest}`)));
      expect(error).toMatchObject({ code: 'certificate_invalid', field: 'csr' });
      expect(error.reason).toContain('signature algorithm');
    });

    const { X25519: _cannotSign, ...refused } = refusedKeys();
    it.each(Object.entries(refused))(
      'a request over a key of type %s is refused for that',
      async (_type, key) => {
        const error = failure(await requests.read(request(key)));
        expect(error.code).toBe('certificate_invalid');
        expect(error.reason).toMatch(/expected .*(2048|P-256)/);
      },
    );

    it('two requests, text around one, and a request beyond 10,240 bytes are refused', async () => {
      const key = value(await crypto.generateKey('p256'));
      const pem = request(key);
      const names = Array.from({ length: 400 }, (_, i) => `DNS:name-${i}.a-rather-long-domain.example.org`);
      const large = request(key, '-addext', `subjectAltName=${names.join(',')}`);
      expect(large.length).toBeGreaterThan(10_240);
      for (const text of [pem + pem, request(key, '-text'), large])
        expect(failure(await requests.read(text)).code).toBe('certificate_invalid');
    });

    it('what a request asks for is not what is issued', async () => {
      const key = value(await crypto.generateKey('p256'));
      const greedy = request(
        key,
        '-addext',
        'basicConstraints=critical,CA:TRUE',
        '-addext',
        'subjectAltName=DNS:other.example.org',
        '-addext',
        'extendedKeyUsage=clientAuth',
      );
      const { spki } = value(await requests.read(greedy));
      const authority = open();
      const ca = value(await authority.create(tenYears));
      const certificate = value(await authority.issue({ kind: 'agent', name: 'web-07' }, spki, oneYear));
      expect(certificate).toMatchObject({
        commonName: 'web-07',
        dnsNames: ['web-07'],
        uris: ['ctrl-exec:agent:web-07'],
        usages: ['serverAuth'],
        isCa: false,
      });
      expect(textOf(certificate)).not.toContain('other.example.org');
      expect(verifies(certificate, ca, '-purpose', 'sslclient')).toBe(false);
    });
  });

  describe('of signatures', () => {
    it.each([
      ['rsa2048', ['-sha512', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:64']],
    ] as const)('it verifies what a %s key signed', async (type, options) => {
      const pem = value(await crypto.generateKey(type));
      const data = file('some data');
      const publicKey = file(tryOpenssl(['pkey', '-in', file(pem), '-pubout']).text);
      const signature = file();
      writeFileSync(signature, value(crypto.signingKey(pem)).sign(Buffer.from('some data')));
      const { text } = tryOpenssl(['dgst', ...options, '-verify', publicKey, '-signature', signature, data]);
      expect(text).toContain('Verified OK');
    });
  });
});
