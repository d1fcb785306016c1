import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import {
  evenSerial,
  legacyPairingCode,
  meansSerial,
  readLegacyAnswer,
  readLegacyRequest,
  writeLegacyRequest,
} from '../../../../src/domain/legacy/pairing.js';
import { failure, value } from '../../../contract/result.js';
import { capturedPairing } from '../../../support/legacy/peer.js';

const sha256 = (data: Uint8Array) => new Uint8Array(createHash('sha256').update(data).digest());
const json = (message: unknown) => utf8(JSON.stringify(message));
const asked = { hostname: 'web-01', csr: 'PEM', nonce: 'AB'.repeat(16) };

describe('a request of version 1', () => {
  it('is read as a deployed agent sent it', () => {
    const { hostname, nonce, csr } = capturedPairing();
    const read = value(readLegacyRequest(json({ hostname, nonce, csr })));
    expect(read).toEqual({ host: 'vm', nonce, csrPem: csr, port: 7443, lookupBy: 'hostname' });
  });

  it.each([
    [
      { port: 8443, lookup_by: 'ip' },
      { port: 8443, lookupBy: 'ip' },
    ],
    [
      { port: '8443', lookup_by: null, ip: '192.0.2.1', later: {} },
      { port: 8443, lookupBy: 'hostname' },
    ],
    [{ hostname: 'WEB-01.example.org' }, { host: 'web-01.example.org' }],
  ])('may say %j', (more, read) => {
    expect(value(readLegacyRequest(json({ ...asked, ...more })))).toMatchObject(read);
  });

  it.each([
    { nonce: undefined },
    { nonce: 'AB'.repeat(15) },
    { nonce: `${'AB'.repeat(15)}XY` },
    { csr: undefined },
    { csr: 'x'.repeat(10_241) },
    { port: 0 },
    { port: '65536' },
    { port: '1e3' },
    { port: [7443] },
    { lookup_by: 'dns' },
    { hostname: 7 },
  ])('may not say %j', (more) => {
    expect(failure(readLegacyRequest(json({ ...asked, ...more }))).said).toBe('invalid request');
  });

  it.each(['', '../etc/x', 'a b', 'web\n01', '-web', 'x'.repeat(65), '{"a":1'])(
    'may not come from a host %j',
    (hostname) => {
      expect(failure(readLegacyRequest(json({ ...asked, hostname }))).said).toBe('invalid hostname');
    },
  );

  it.each(['', '[]', 'null', '{', '{"hostname":"a","hostname":"b"}'])('may not be %j', (text) => {
    expect(failure(readLegacyRequest(utf8(text))).said).toBe('invalid request');
  });

  it('is written as it is read', () => {
    const request = {
      host: 'web-01',
      csrPem: 'PEM',
      nonce: 'ab'.repeat(16),
      port: 1,
      lookupBy: 'ip',
    } as const;
    expect(value(readLegacyRequest(writeLegacyRequest(request)))).toEqual(request);
  });
});

// Calculated with `openssl dgst -sha256` over the CSR of the capture.
it('the code is over the PEM as it was sent', () => {
  expect(legacyPairingCode(sha256, capturedPairing().csr)).toBe('393588');
  expect(legacyPairingCode(sha256, `${capturedPairing().csr}\n`)).not.toBe('393588');
});

describe('an answer of version 1', () => {
  const approved = { status: 'approved', cert: 'C', ca: 'A', nonce: 'n', dispatcher_serial: '0A', later: 1 };

  it('is read with what 0.8 leaves out', () => {
    expect(value(readLegacyAnswer(json(approved)))).toEqual({
      kind: 'approved',
      certificatePem: 'C',
      caPem: 'A',
      nonce: 'n',
      serial: 'a',
      dispatcherId: undefined,
    });
    const { dispatcher_serial: _, ...without } = approved;
    expect(value(readLegacyAnswer(json(without)))).toMatchObject({ serial: undefined });
  });

  it.each([
    { dispatcher_serial: 'zz' },
    { dispatcher_serial: '' },
    { cert: undefined },
    { ca: 7 },
    { nonce: undefined },
  ])('is not understood with %j', (more) => {
    expect(readLegacyAnswer(json({ ...approved, ...more })).isErr()).toBe(true);
  });

  it('that is neither pending nor an approval is a refusal, with a reason or without', () => {
    expect(value(readLegacyAnswer(json({ status: 'denied', reason: 'no' })))).toMatchObject({
      kind: 'refused',
      reason: 'no',
    });
    expect(value(readLegacyAnswer(json({ status: 'denied' })))).toMatchObject({ reason: 'denied' });
    expect(readLegacyAnswer(json({ status: 'pending', reqid: 'a b' })).isErr()).toBe(true);
    expect(readLegacyAnswer(json({})).isErr()).toBe(true);
  });
});

it('knows the serial of a certificate in what deployed dispatchers make of it', () => {
  expect(meansSerial('10', '10')).toBe(true);
  expect(meansSerial('a', '10')).toBe(true);
  expect(meansSerial('10', '16')).toBe(true);
  expect(meansSerial(undefined, '16')).toBe(true);
  expect(meansSerial('16', '10')).toBe(false);
  expect(meansSerial('a', '1a')).toBe(false);
  expect([evenSerial('2'), evenSerial('1a'), evenSerial('abc')]).toEqual(['02', '1a', '0abc']);
});
