import { describe, expect, it } from 'vitest';
import { pemBlocks, readPem, splitCertificates } from '../../../../src/domain/core/pem.js';

const block = (label: string, body: string) => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;

describe('blocks of a PEM text', () => {
  it('each one comes with its label, its text, its base64 and the lines before it', () => {
    const text = `one\n${block('CERTIFICATE', 'AA\nBB')}two\r\n${block('X509 CRL', ' CC\r\nD D').replaceAll('\n', '\r\n')}three`;
    expect(readPem(text)).toEqual({
      blocks: [
        { label: 'CERTIFICATE', text: block('CERTIFICATE', 'AA\nBB'), base64: 'AABB', before: ['one'] },
        { label: 'X509 CRL', text: block('X509 CRL', 'CC\nD D'), base64: 'CCDD', before: ['two'] },
      ],
      behind: ['three'],
    });
  });

  it('one that is not complete is text, and the next one is found', () => {
    const open = '-----BEGIN CERTIFICATE-----\nAA';
    const crossed = `${open}\n-----END X509 CRL-----`;
    for (const broken of [open, crossed, '-----END CERTIFICATE-----'])
      expect(readPem(`${broken}\n${block('CERTIFICATE', 'BB')}`).blocks).toMatchObject([
        { base64: 'BB', before: broken.split('\n') },
      ]);
  });

  it('beginnings without an end, and one block of any length, take no time', () => {
    expect(pemBlocks('-----BEGIN CERTIFICATE-----\nAAAA\n'.repeat(100_000))).toEqual([]);
    expect(splitCertificates(block('CERTIFICATE', `${'A'.repeat(64)}\n`.repeat(100_000)))).toHaveLength(1);
  });
});
