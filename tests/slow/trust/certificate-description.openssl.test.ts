import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { failure, value } from '../../contract/result.js';
import { noOpenssl, openssl } from '../../support/network/openssl.js';

const crypto = nodeCrypto();

interface Kind {
  readonly key: readonly string[];
  readonly subject: string;
  readonly serial: string;
  readonly extensions: string;
  readonly expected: object;
}

const kinds: Readonly<Record<string, Kind>> = {
  'a leaf on P-256 with names of all kinds': {
    key: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    subject: '/C=DE/ST=NRW/L=Bonn/O=Example, Inc./OU=One/OU=Two/CN=www.example.test/emailAddress=a@b',
    serial: '0x0A1B',
    extensions:
      'subjectAltName=DNS:www.example.test,DNS:*.b.test,email:a@b.test,IP:192.0.2.1,IP:2001:db8::1,URI:x:y\nbasicConstraints=CA:FALSE',
    expected: {
      commonName: 'www.example.test',
      sans: ['www.example.test', '*.b.test', 'a@b.test', '192.0.2.1', '2001:db8::1'],
      serial: 'a1b',
      subject:
        'CN=www.example.test,ST=NRW,L=Bonn,OU=One+OU=Two,O=Example\\, Inc.,C=DE,1.2.840.113549.1.9.1=#0c03614062',
      keyAlgorithm: 'ECDSA',
      keySize: 256,
      isCa: false,
    },
  },
  'a CA with RSA of 2048 bits': {
    key: ['-newkey', 'rsa:2048'],
    subject: '/O=Größe/CN=#ca ',
    serial: '0x00ff00ff00ff00ff00ff',
    extensions: 'basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature',
    expected: {
      commonName: '#ca ',
      sans: [],
      serial: 'ff00ff00ff00ff00ff',
      subject: 'CN=\\#ca\\ ,O=Größe',
      keyAlgorithm: 'RSA',
      keySize: 2048,
      isCa: true,
    },
  },
  'a certificate on P-521 without a common name': {
    key: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521'],
    subject: '/O=x/DC=test',
    serial: '0x1',
    extensions: 'subjectAltName=DNS:only.test',
    expected: {
      commonName: '',
      subject: 'O=x,0.9.2342.19200300.100.1.25=#130474657374',
      serial: '1',
      keyAlgorithm: 'ECDSA',
      keySize: 521,
      isCa: false,
    },
  },
  'a certificate with an Ed25519 key': {
    key: ['-newkey', 'ed25519'],
    subject: '/CN=ed',
    serial: '0x7fffffffffffffffffffffffffffffffffffffff',
    extensions: 'keyUsage=digitalSignature',
    expected: {
      subject: 'CN=ed',
      serial: '7fffffffffffffffffffffffffffffffffffffff',
      keyAlgorithm: 'Ed25519',
      keySize: 256,
    },
  },
};

describe.skipIf(noOpenssl.missing)('what certificates say of themselves, made with openssl', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'description-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const make = ({ key, subject, serial, extensions }: Kind): Buffer => {
    const at = (name: string) => join(directory, name);
    writeFileSync(
      at('config'),
      `[req]\ndistinguished_name = dn\nx509_extensions = ext\nutf8 = yes\nstring_mask = utf8only\n[dn]\n[ext]\n${extensions}\n`,
    );
    const names = ['-subj', subject, '-set_serial', serial, '-days', '30', '-utf8', '-config', at('config')];
    const out = ['-nodes', '-keyout', at('key'), '-out', at('der'), '-outform', 'DER'];
    openssl(['req', '-x509', ...key, ...names, ...out]);
    return readFileSync(at('der'));
  };
  const shown = (der: Buffer, ...args: readonly string[]) =>
    openssl(['x509', '-inform', 'DER', '-noout', ...args], { input: der }).stdout;

  it.each(Object.entries(kinds))('%s', (_name, kind) => {
    const der = make(kind);
    const described = value(crypto.describeCertificate(new Uint8Array(der)));
    expect(described).toMatchObject(kind.expected);
    expect(described.issuer).toBe(described.subject);
    expect(described.fingerprint).toBe(createHash('sha256').update(der).digest('hex'));
    expect(shown(der, '-fingerprint', '-sha256').replaceAll(':', '').toLowerCase()).toContain(
      described.fingerprint,
    );
    const date = (line: string) => Date.parse(line.trim().split('=')[1] ?? '');
    expect(date(shown(der, '-startdate'))).toBe(described.notBefore);
    expect(date(shown(der, '-enddate'))).toBe(described.notAfter);
  });

  it('any change of a byte is described or refused, never thrown', () => {
    const der = make(Object.values(kinds)[0] as Kind);
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.nat(255), (at, value) => {
        const changed = new Uint8Array(der);
        changed[at] = value;
        const described = crypto.describeCertificate(changed);
        if (described.isOk()) expect(described.value.subject).not.toMatch(/undefined/);
      }),
    );
  });
});

describe('what is no certificate', () => {
  it('is refused in one line', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const error = failure(crypto.describeCertificate(bytes));
        return error.code === 'certificate_invalid' && !error.message.includes('\n');
      }),
    );
  });
});
