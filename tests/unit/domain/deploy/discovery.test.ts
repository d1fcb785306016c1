import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { certificatePem } from '../../../../src/domain/core/pem.js';
import { discoveryReport, formatOf, pemCertificates } from '../../../../src/domain/deploy/discovery.js';

describe('which files are looked into', () => {
  it.each([
    ['/etc/ssl/a.pem', 'PEM'],
    ['/etc/ssl/a.CRT', 'PEM'],
    ['/etc/ssl/a.cer', 'PEM'],
    ['/etc/ssl/a.cert', 'PEM'],
    ['/etc/ssl/a.key.old', 'PEM'],
    ['/etc/ssl/.profile', 'PEM'],
    ['/etc/ssl/a.', 'PEM'],
    ['/etc/ssl/a.der', 'DER'],
    ['/etc/ssl/a.pem.DER', 'DER'],
    ['/etc/ssl/a.key', undefined],
    ['/etc/ssl/a.pem.KEY', undefined],
    ['/etc/ssl/privkey', undefined],
    ['/etc/ssl.d/privkey', undefined],
    ['', undefined],
  ])('%s: %s', (path, format) => {
    expect(formatOf(path)).toBe(format);
  });
});

describe('certificates in PEM', () => {
  it('every one is found, whatever stands around it', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 5 }), (ders) => {
        const text = ders.map((der) => `# comment - ${der.length}\n${certificatePem(der)}`).join('');
        expect(pemCertificates(text)).toEqual(ders);
      }),
    );
  });

  it('keys and other blocks are none', () => {
    const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n';
    const trusted = certificatePem(Uint8Array.of(1)).replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE');
    expect(pemCertificates(key + trusted + certificatePem(Uint8Array.of(7)))).toEqual([Uint8Array.of(7)]);
  });

  it('one that is not base64 is noticed, and the next is found', () => {
    const bad = '-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n';
    expect(pemCertificates(bad + certificatePem(Uint8Array.of(7)))).toEqual([undefined, Uint8Array.of(7)]);
  });

  it('beginnings without an end take no time', () => {
    expect(pemCertificates('-----BEGIN CERTIFICATE-----\nAAAA\n'.repeat(25_000))).toEqual([]);
  });
});

it('a scan is told in the words of the API', () => {
  const found = {
    fingerprint: 'ab',
    commonName: 'x',
    sans: ['x'],
    serial: '1f',
    issuer: 'CN=ca',
    subject: 'CN=x',
    notBefore: Date.UTC(2025, 0, 2, 3, 4, 5),
    notAfter: Date.UTC(2026, 0, 2, 3, 4, 5),
    keyAlgorithm: 'ECDSA',
    keySize: 256,
    isCa: false,
    pem: 'PEM',
    path: '/x/a.pem',
    format: 'PEM',
  } as const;
  const scan = { directories: ['/x'], certificates: [found], errors: ['e'], duration: 12.6 };
  expect(discoveryReport('a', scan)).toEqual({
    agent_id: 'a',
    directories: ['/x'],
    certificates: [
      {
        fingerprint_sha256: 'ab',
        common_name: 'x',
        sans: ['x'],
        serial_number: '1f',
        issuer_dn: 'CN=ca',
        subject_dn: 'CN=x',
        not_before: '2025-01-02T03:04:05Z',
        not_after: '2026-01-02T03:04:05Z',
        key_algorithm: 'ECDSA',
        key_size: 256,
        is_ca: false,
        pem_data: 'PEM',
        source_path: '/x/a.pem',
        source_format: 'PEM',
      },
    ],
    errors: ['e'],
    scan_duration_ms: 13,
  });
});
