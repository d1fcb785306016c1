import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exactSignatureBase, readExactSignature } from '../../../../src/domain/protocol/exact-shape.js';
import type { Message, RequestMessage } from '../../../../src/domain/protocol/http-component.js';
import type { HeaderList } from '../../../../src/domain/protocol/http-message.js';
import { readSignatures, signatureBase } from '../../../../src/domain/protocol/http-signature.js';
import { value } from '../../../contract/result.js';

interface Vectors {
  cases: {
    name: string;
    request: { method: string; authority: string; path: string; headers?: Record<string, string> };
    response: { status: number; headers: Record<string, string>; signature_base: string };
  }[];
}
const { cases }: Vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/message-signature.json', import.meta.url), 'utf8'),
);

const requestOf = ({
  request: { authority, headers, ...head },
}: Vectors['cases'][number]): RequestMessage => ({
  ...head,
  scheme: 'https',
  query: '',
  headers: [['host', authority], ...Object.entries(headers ?? {})],
});
const messages: Message[] = cases.flatMap((one) => [
  ...(one.request.headers ? [requestOf(one)] : []),
  {
    status: one.response.status,
    headers: Object.entries(one.response.headers),
    request: requestOf(one),
  },
]);

const isSignature = (name: string) => name === 'signature' || name === 'signature-input';
const pieces = [
  ...[
    'cx',
    '(',
    ')',
    '"',
    ';',
    '=',
    ':',
    ' ',
    ', ',
    '\t',
    '\n',
    '\\',
    '\0',
    'é',
    '0',
    '-1',
    '1.0',
    '?1',
    '@1',
  ],
  ...['"@method"', '"@status"', '"@path";req', '"signature";req;key="cx"', ';key="cx"', ';sf', ';bs', ';req'],
  ...[';created=1', ';expires=1', ';nonce="a"', ';tag="ctrl-exec-req-v2"', 'A', '==', 'cx=:AA==:', ', cx=()'],
];

/** Puts, cuts or doubles a piece somewhere. */
const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(3), fc.nat(80)),
  put: fc.oneof({ weight: 3, arbitrary: fc.constantFrom('', ...pieces) }, fc.string({ maxLength: 3 })),
  twice: fc.boolean(),
});
type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never;

const mutated = (text: string, { at, cut, put, twice }: Mutation): string => {
  const place = Math.floor(at * text.length);
  const gone = text.slice(place, place + cut);
  return text.slice(0, place) + put + (twice ? gone + gone : '') + text.slice(place + cut);
};
const mutatedHeaders = (headers: HeaderList, which: number, mutations: readonly Mutation[]): HeaderList => {
  const places = headers.flatMap(([name], index) => (isSignature(name) ? [index] : []));
  const place = places[which % Math.max(1, places.length)];
  return headers.map(([name, text], index) => [
    name,
    index === place ? mutations.reduce(mutated, text) : text,
  ]);
};

/** Whether the quick reading took it; then the general one must have read the same. */
const agree = (message: Message): boolean => {
  const exact = readExactSignature(message.headers);
  const general = readSignatures(message.headers);
  if (exact) expect(value(general)).toEqual([exact]);
  for (const found of general.unwrapOr([]))
    expect(exactSignatureBase(message, found)).toEqual(signatureBase(message, found));
  return exact !== undefined;
};

describe('the quick reading of signatures', () => {
  it('takes every message of this product, and reads it as the general one does', () => {
    for (const message of messages) expect(agree(message)).toBe(true);
  });

  it('reads nothing that the general one refuses or reads differently, whatever the headers are', () => {
    let taken = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...messages),
        fc.nat(1),
        fc.nat(1),
        fc.array(mutation, { maxLength: 3 }),
        fc.array(mutation, { maxLength: 2 }),
        (message, one, other, own, ofRequest) => {
          const headers = mutatedHeaders(message.headers, one, own);
          const request = 'status' in message ? message.request : undefined;
          const changed = request && {
            request: { ...request, headers: mutatedHeaders(request.headers, other, ofRequest) },
          };
          if (agree({ ...message, headers, ...changed })) taken += 1;
        },
      ),
      { numRuns: 5000 },
    );
    expect(taken).toBeGreaterThan(500);
  });

  it.each([
    ['signature-input', (text: string) => text.replace(';keyid', '; keyid')],
    ['signature-input', (text: string) => text.replace(/;alg="[^"]*"/, '')],
    ['signature-input', (text: string) => text.replace(/created=\d+/, 'created=01')],
    ['signature-input', (text: string) => `${text}, other=()`],
    ['signature', (text: string) => `${text}, other=:AA==:`],
    ['signature', (text: string) => ` ${text}`],
  ])('leaves another writing of %s to the general one', (name, change) => {
    for (const { headers } of messages) {
      const changed = headers.map(([key, text]): [string, string] => [
        key,
        key === name ? change(text) : text,
      ]);
      expect(readExactSignature(changed)).toBeUndefined();
    }
  });

  it('takes no header that is there twice', () => {
    for (const { headers } of messages)
      for (const twice of headers.filter(([name]) => isSignature(name)))
        expect(readExactSignature([...headers, twice])).toBeUndefined();
  });
});
