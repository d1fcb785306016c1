import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { base64url, utf8 } from '../../../../src/domain/core/bytes.js';
import {
  maxPairingBody,
  pairingErrors,
  readConfirmAnswer,
  readPairingMessage,
  writePairingMessage,
} from '../../../../src/domain/pairing/messages.js';
import { failure, value } from '../../../contract/result.js';

const b16 = base64url(new Uint8Array(16).fill(1));
const b32 = base64url(new Uint8Array(32).fill(2));

const messages = {
  start: {
    v: 2,
    offer: [2],
    host: 'web1.example.org',
    csr_pem: 'PEM',
    port: 7443,
    lookup_by: 'hostname',
    join: base64url(new Uint8Array(8)),
  },
  started: {
    v: 2,
    session: b16,
    commit: b32,
    ca_pem: ['PEM'],
    dispatcher_pem: ['PEM', 'PEM'],
    dispatcher_id: 'control',
    expires_in: 600,
  },
  nonce: { v: 2, session: b16, nonce: b32, mac: b32 },
  signed: { v: 2, session: b16, sig: 'AAECAw' },
  approved: { status: 'approved', name: 'web-01', cert_pem: 'PEM' },
  pending: { status: 'pending', retry_after: 2 },
  denied: { status: 'denied', reason: 'no' },
  error: { status: 'error', error: 'invalid' },
} as const;

type Kind = keyof typeof messages;
const kinds = Object.keys(messages) as Kind[];
const read = (kind: Kind, message: unknown) => readPairingMessage(kind, utf8(JSON.stringify(message)));

describe.each(kinds)('the message %s', (kind) => {
  const message: Record<string, unknown> = messages[kind];
  const optionals = ['join', 'mac'];

  it('comes back as it was written', () => {
    const decoded = value(read(kind, message));
    expect(Object.keys(decoded).sort()).toEqual(Object.keys(message).sort());
    expect(JSON.parse(writePairingMessage(decoded))).toEqual(message);
  });

  it.each(Object.keys(message))('without %s is an error, unless that is optional', (member) => {
    const { [member]: _, ...rest } = message;
    const outcome = read(kind, rest);
    if (optionals.includes(member)) expect(outcome.isOk()).toBe(true);
    else expect(failure(outcome)).toBe(`member "${member}" is missing`);
  });

  it.each(Object.keys(message))('with a %s of another type is an error', (member) => {
    for (const value of [null, true, {}, [], -1, 1.5])
      expect(failure(read(kind, { ...message, [member]: value }))).toContain(`"${member}"`);
  });

  it('with an unknown member is an error', () => {
    expect(failure(read(kind, { ...message, further: 1 }))).toBe('unknown member "further"');
  });

  it('of any bytes is a value or a text, never a throw', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array(), fc.json().map(utf8), fc.string().map(utf8)),
        fc.constantFrom(200, 202, 403, 410, 500),
        (bytes, status) => {
          for (const outcome of [readPairingMessage(kind, bytes), readConfirmAnswer(status, bytes)])
            if (outcome.isErr()) expect(typeof outcome.error).toBe('string');
        },
      ),
    );
  });

  it('above 16 KiB is not even parsed', () => {
    const padded = utf8(`${JSON.stringify(message)}${' '.repeat(maxPairingBody)}`);
    expect(failure(readPairingMessage(kind, padded))).toBe('longer than 16384 bytes');
    const fitting = JSON.stringify(message).padEnd(maxPairingBody, ' ');
    expect(readPairingMessage(kind, utf8(fitting)).isOk()).toBe(true);
  });
});

describe('the limits of M1', () => {
  it.each([
    ['host', ['', '-web', 'web-', '.web', 'we b', 'web/1', 'wéb', 'a'.repeat(65), 'web\n', '../x']],
    ['port', [0, 65_536, 1.5, '7443', -1]],
    ['offer', [[1], [2, 1], [], [2, 2], [3], '2', [1, 2, 3], ['2']]],
    ['v', [1, 3, '2']],
    ['lookup_by', ['HOSTNAME', 'name', '']],
    ['csr_pem', ['x'.repeat(10_241)]],
    ['join', ['', 'AA', base64url(new Uint8Array(9)), `${messages.start.join}=`]],
  ])('a %s that is not of its form is refused', (member, values) => {
    for (const value of values)
      expect(failure(read('start', { ...messages.start, [member]: value }))).toContain(`"${member}"`);
  });

  it.each([
    ['host', ['a', 'Web-01.example_x.org', 'a'.repeat(64)]],
    ['port', [1, 65_535]],
    ['offer', [[2], [1, 2]]],
    ['lookup_by', ['hostname', 'ip']],
    ['csr_pem', ['', 'x'.repeat(10_240)]],
  ])('a %s within them is read', (member, values) => {
    for (const given of values)
      expect(value(read('start', { ...messages.start, [member]: given }))).toMatchObject({
        [member]: given,
      });
  });
});

it('binary values have one length each', () => {
  const other = base64url(new Uint8Array(31));
  expect(read('nonce', { ...messages.nonce, nonce: other }).isErr()).toBe(true);
  expect(read('nonce', { ...messages.nonce, mac: other }).isErr()).toBe(true);
  expect(read('nonce', { ...messages.nonce, session: other }).isErr()).toBe(true);
  expect(read('started', { ...messages.started, commit: other }).isErr()).toBe(true);
});

it('lists of certificates hold one to eight', () => {
  for (const member of ['ca_pem', 'dispatcher_pem'])
    for (const value of [[], Array(9).fill('PEM'), ['x'.repeat(8193)]])
      expect(read('started', { ...messages.started, [member]: value }).isErr()).toBe(true);
});

describe('the answer to M5', () => {
  const answer = (status: number, body: unknown) => readConfirmAnswer(status, utf8(JSON.stringify(body)));

  it('is what its status and its body say together', () => {
    expect(value(answer(200, messages.approved))).toEqual({
      kind: 'approved',
      name: 'web-01',
      certificatePem: 'PEM',
    });
    expect(value(answer(202, messages.pending))).toEqual({ kind: 'pending', retryAfter: 2 });
    expect(value(answer(403, messages.denied))).toEqual({ kind: 'denied', reason: 'no' });
    expect(value(answer(410, { status: 'expired' }))).toEqual({ kind: 'expired' });
  });

  it('is an error where the two do not belong together', () => {
    expect(answer(200, messages.pending).isErr()).toBe(true);
    expect(answer(202, messages.approved).isErr()).toBe(true);
    expect(answer(403, messages.approved).isErr()).toBe(true);
    expect(answer(202, { ...messages.pending, retry_after: 0 }).isErr()).toBe(true);
    expect(answer(202, { ...messages.pending, retry_after: 3600 }).isErr()).toBe(true);
    expect(failure(answer(201, messages.approved))).toBe('status 201');
    expect(failure(answer(500, messages.approved))).toBe('status 500');
  });
});

it('each error code has the status of wire-protocol 2.2', () => {
  expect(pairingErrors).toEqual({
    invalid: 400,
    join_refused: 403,
    unknown_session: 404,
    name_registered: 409,
    expired: 410,
    too_large: 413,
    queue_full: 429,
  });
});

it('bytes are written as base64url, and what is undefined is left out', () => {
  expect(writePairingMessage({ a: Uint8Array.of(251, 255), b: undefined, c: [1], d: 'x' })).toBe(
    '{"a":"-_8","c":[1],"d":"x"}',
  );
});
