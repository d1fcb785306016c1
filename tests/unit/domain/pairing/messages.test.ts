import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { base64url, utf8 } from '../../../../src/domain/core/bytes.js';
import { parseJsonObject } from '../../../../src/domain/core/json.js';
import { pairingMessage, writePairingMessage } from '../../../../src/domain/pairing/messages.js';
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
  ok: { status: 'ok' },
} as const;

type Kind = keyof typeof messages;
const kinds = Object.keys(messages) as Kind[];
const read = (kind: Kind, message: Record<string, unknown>) => pairingMessage(kind).read(message);

describe.each(kinds)('the message %s', (kind) => {
  const message: Record<string, unknown> = messages[kind];
  const optionals = ['join', 'mac'];

  it('comes back as it was written', () => {
    const decoded = value(read(kind, message));
    expect(Object.keys(decoded).sort()).toEqual(Object.keys(message).sort());
    expect(JSON.parse(JSON.stringify(writePairingMessage(decoded)))).toEqual(message);
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
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(utf8), fc.string().map(utf8)), (bytes) => {
        const outcome = parseJsonObject(bytes).andThen((object) => pairingMessage(kind).read(object));
        if (outcome.isErr()) expect(typeof outcome.error).toBe('string');
      }),
    );
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

it('bytes are written as base64url, and what is undefined is left out', () => {
  const bytes = Uint8Array.of(251, 255);
  const written = writePairingMessage({ a: bytes, b: undefined, c: [1, bytes], d: 'x' });
  expect(JSON.stringify(written)).toBe('{"a":"-_8","c":[1,"-_8"],"d":"x"}');
});
