import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { csrSubject } from '../../../../src/domain/deploy/csr.js';
import { failure, value } from '../../../contract/result.js';

describe('whom a CSR names', () => {
  it('names with an @ are e-mail addresses, IP addresses are such, all others are DNS names', () => {
    const sans = [
      'www.example.com',
      'a@example.com',
      '192.0.2.1',
      '2001:DB8::1',
      '*.example.com',
      'localhost',
    ];
    expect(value(csrSubject('www.example.com', sans))).toEqual({
      commonName: 'www.example.com',
      names: {
        dnsNames: ['www.example.com', '*.example.com', 'localhost'],
        emails: ['a@example.com'],
        addresses: ['192.0.2.1', '2001:db8::1'],
        uris: [],
      },
    });
  });

  it('what looks almost like an address is a DNS name', () => {
    const sans = ['127.1', '1.2.3', '010.0.0.1', 'fe80::1%eth0'];
    expect(value(csrSubject('x', sans)).names).toEqual({
      dnsNames: sans,
      emails: [],
      addresses: [],
      uris: [],
    });
  });

  it('host names are in lower case without a dot at their end, whatever else is as it was given', () => {
    const sans = ['WWW.Example.COM.', 'www.example.com', 'Some.One@Example.COM', '*.Example.com'];
    expect(value(csrSubject('Www.Example.com.', sans))).toEqual({
      commonName: 'www.example.com',
      names: {
        dnsNames: ['www.example.com', '*.example.com'],
        emails: ['Some.One@example.com'],
        addresses: [],
        uris: [],
      },
    });
    expect(value(csrSubject('Jane Doe', [])).commonName).toBe('Jane Doe');
  });

  it('what begins as a URI is one', () => {
    const uris = ['spiffe://example.org/Web', 'https://a@b/', 'urn:uuid:1'];
    expect(value(csrSubject('x', [...uris, 'localhost:80'])).names).toMatchObject({
      uris,
      emails: [],
      dnsNames: ['localhost:80'],
    });
  });

  it('a name that is too long for a common name stands among the names alone', () => {
    const fits = `${'a'.repeat(57)}.test.X`;
    expect(value(csrSubject(fits, [])).commonName).toBe(fits.toLowerCase());
    const long = `${'a'.repeat(63)}.example.test`;
    const { commonName, names } = value(csrSubject(long, ['b', long]));
    expect([commonName, names.dnsNames]).toEqual([undefined, [long, 'b']]);
    expect(failure(csrSubject(`${'a '.repeat(40)}`, []))).toContain('cannot be used');
  });

  it('a name is asked for once', () => {
    const { names } = value(csrSubject('x', ['a', 'a', '::1', '0:0::1', 'b@c', 'b@c']));
    expect(names).toEqual({ dnsNames: ['a'], emails: ['b@c'], addresses: ['::1'], uris: [] });
  });

  it('without a common name there is none', () => {
    for (const commonName of ['', ' ', '\t\n'])
      expect(failure(csrSubject(commonName, ['a']))).toBe('empty common name');
  });

  it.each([
    ['a common name of 256 characters', 'x'.repeat(256), []],
    ['a line end in the common name', 'a\nb', []],
    ['text that runs from right to left', 'a\u202eb', []],
    ['an empty name', 'x', ['a', '']],
    ['a name with a space', 'x', ['a b']],
    ['a name with a NUL', 'x', ['a\0.example.com']],
    ['a name that is not ASCII', 'x', ['bücher.example']],
    ['a name of 256 characters', 'x', ['y'.repeat(256)]],
    ['1001 names', 'x', Array.from({ length: 1001 }, (_, each) => `n${each}`)],
  ])('%s is refused in one line', (_what, commonName, sans) => {
    const reason = failure(csrSubject(commonName, sans));
    expect(reason).not.toMatch(/\p{Cc}/u);
    expect(reason.length).toBeLessThan(250);
  });

  it('every name that is taken stands in exactly one list', () => {
    const san = fc.oneof(fc.domain(), fc.emailAddress(), fc.ipV4(), fc.ipV6());
    fc.assert(
      fc.property(fc.uniqueArray(san, { maxLength: 20 }), (sans) => {
        const judged = csrSubject('x', sans);
        if (judged.isErr()) return;
        const { dnsNames, emails, addresses } = judged.value.names;
        expect(dnsNames.length + emails.length + addresses.length).toBeLessThanOrEqual(sans.length);
        expect(dnsNames.every((name) => !name.includes('@') && !name.includes(':'))).toBe(true);
        expect(emails.every((name) => name.includes('@'))).toBe(true);
      }),
    );
  });
});
