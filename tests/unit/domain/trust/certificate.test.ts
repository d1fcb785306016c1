import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Certificate,
  opensslTime,
  profileNames,
  whyUnusable,
} from '../../../../src/domain/trust/certificate.js';

const certificate: Certificate = {
  pem: '',
  der: new Uint8Array(),
  spki: new Uint8Array(),
  serial: '1a',
  commonName: 'web-01',
  dnsNames: [],
  uris: [],
  notBefore: 1000,
  notAfter: 2000,
  isCa: false,
  usages: ['serverAuth'],
};

describe('a certificate is usable', () => {
  it('from its first to its last moment', () => {
    const at = (now: number) => whyUnusable(certificate, 'serverAuth', now);
    expect([at(1000), at(1500), at(2000)]).toEqual([undefined, undefined, undefined]);
    expect(at(999)).toBe('not valid before 1970-01-01T00:00:01.000Z');
    expect(at(2001)).toBe('expired at 1970-01-01T00:00:02.000Z');
  });

  it('for its usages, and for all where it names none', () => {
    const why = (usages: Certificate['usages'], usage: 'clientAuth' | 'serverAuth') =>
      whyUnusable({ ...certificate, usages }, usage, 1500);
    expect(why(['serverAuth'], 'clientAuth')).toBe('not for clientAuth');
    expect(why(['other'], 'serverAuth')).toBe('not for serverAuth');
    expect(why([], 'serverAuth')).toBe('not for serverAuth');
    expect(why(['other', 'clientAuth', 'serverAuth'], 'clientAuth')).toBeUndefined();
    expect(why(undefined, 'clientAuth')).toBeUndefined();
    expect(why(undefined, 'serverAuth')).toBeUndefined();
  });

  it('unless it is that of a CA', () => {
    expect(whyUnusable({ ...certificate, isCa: true, usages: undefined }, 'serverAuth', 1500)).toBe(
      'is a CA certificate',
    );
  });
});

describe('profileNames', () => {
  it('are those of wire-protocol 2.1, with their usages', () => {
    expect(profileNames({ kind: 'dispatcher', dispatcherId: 'control' })).toEqual({
      commonName: 'control',
      dnsNames: [],
      uris: ['ctrl-exec:dispatcher:control'],
      usages: ['clientAuth'],
    });
    expect(profileNames({ kind: 'pairing', dispatcherId: 'control' })).toEqual({
      commonName: 'control',
      dnsNames: [],
      uris: ['ctrl-exec:pairing:control'],
      usages: ['serverAuth'],
    });
    expect(profileNames({ kind: 'agent', name: 'web-01' })).toEqual({
      commonName: 'web-01',
      dnsNames: ['web-01'],
      uris: ['ctrl-exec:agent:web-01'],
      usages: ['serverAuth'],
    });
    const { usages } = profileNames({ kind: 'agent', name: 'web-01', asClientToo: true });
    expect(usages).toEqual(['serverAuth', 'clientAuth']);
  });
});

describe('opensslTime', () => {
  it.each([
    ['2027-06-07T16:28:00Z', 'Jun  7 16:28:00 2027 GMT'],
    ['2027-12-31T23:59:59.999Z', 'Dec 31 23:59:59 2027 GMT'],
    ['2028-02-29T00:00:00Z', 'Feb 29 00:00:00 2028 GMT'],
    ['1970-01-01T00:00:00Z', 'Jan  1 00:00:00 1970 GMT'],
  ])('of %s is %s', (iso, text) => {
    expect(opensslTime(Date.parse(iso))).toBe(text);
  });

  it('has one form for every time that a certificate can hold, and reads back as that second', () => {
    const last = Date.UTC(9999, 11, 31, 23, 59, 59);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: last }), (time) => {
        const text = opensslTime(time);
        expect(text).toMatch(/^[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d \d{4} GMT$/);
        expect(Date.parse(text)).toBe(Math.floor(time / 1000) * 1000);
      }),
    );
  });
});
