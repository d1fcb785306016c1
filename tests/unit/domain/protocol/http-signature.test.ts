import { createHash, createPrivateKey, createPublicKey, type JsonWebKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import {
  component,
  componentReader,
  type FieldTypes,
  type Message,
  type RequestMessage,
  type ResponseMessage,
} from '../../../../src/domain/protocol/http-component.js';
import type { HeaderList } from '../../../../src/domain/protocol/http-message.js';
import {
  readSignatures,
  signatureBase,
  signatureHeaders,
  signatureInput,
  signatureLimits,
  withLabel,
  withTag,
} from '../../../../src/domain/protocol/http-signature.js';
import { failure, value } from '../../../contract/result.js';

type WithBody = Message & { body?: string };
interface Vectors {
  keys: Record<string, { algorithm: string; public: string; private?: string; private_jwk?: JsonWebKey }>;
  messages: Record<string, WithBody>;
  cases: {
    name: string;
    source: string;
    label: string;
    key: string;
    deterministic: boolean;
    message: string;
    signature_input: string;
    signature: string;
    base: string;
  }[];
  transformations: { name: string; holds: boolean; message: RequestMessage }[];
}
const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/rfc9421-appendix-b.json', import.meta.url), 'utf8'),
);
const crypto = nodeCrypto();

const signed = <M extends Message>(
  message: M,
  { signature_input, signature }: { signature_input: string; signature: string },
): M => ({
  ...message,
  headers: [...message.headers, ['signature-input', signature_input], ['signature', signature]],
});

const named = <T>(record: Record<string, T>, name: string): T => {
  const value = record[name];
  if (value === undefined) throw new Error(`no ${name}`);
  return value;
};
const spkiOf = (key: string) =>
  new Uint8Array(createPublicKey(named(vectors.keys, key).public).export({ type: 'spki', format: 'der' }));

const onlySignature = (message: Message) => {
  const [signature, ...others] = value(readSignatures(message.headers));
  if (!signature || others.length > 0) throw new Error('expected one signature');
  return signature;
};

describe('RFC 9421, appendix B', () => {
  it.each(vectors.cases)('$source: the base of "$name", and the signature holds over it', (vector) => {
    const message = signed(named(vectors.messages, vector.message), vector);
    const signature = onlySignature(message);
    expect(signature.label).toBe(vector.label);
    const base = value(signatureBase(message, signature));
    expect(base).toBe(vector.base);
    const spki = spkiOf(vector.key);
    expect(crypto.algorithmOf(spki)).toBe(named(vectors.keys, vector.key).algorithm);
    expect(crypto.verify(spki, utf8(base), signature.signature)).toBe(true);
    expect(crypto.verify(spki, utf8(`${base} `), signature.signature)).toBe(false);
    expect(signatureHeaders(signature, signature.signature)).toEqual([
      ['signature-input', vector.signature_input],
      ['signature', vector.signature],
    ]);
  });

  it.each(vectors.cases.filter(({ key }) => key !== 'test-key-rsa-pss'))(
    '$source: signing "$name" anew holds, and gives the same where the algorithm is deterministic',
    (vector) => {
      const { private: pem, private_jwk: jwk } = named(vectors.keys, vector.key);
      const key = value(
        crypto.signingKey(
          pem ??
            createPrivateKey({ key: jwk ?? {}, format: 'jwk' })
              .export({ type: 'pkcs8', format: 'pem' })
              .toString(),
        ),
      );
      expect(key.spki).toEqual(spkiOf(vector.key));
      const message = named(vectors.messages, vector.message);
      const { components, parameters } = onlySignature(signed(message, vector));
      const input = value(signatureInput(vector.label, components, parameters));
      const base = value(signatureBase(message, input));
      const signature = key.sign(utf8(base));
      expect(crypto.verify(spkiOf(vector.key), utf8(base), signature)).toBe(true);
      const [, written] = signatureHeaders(input, signature);
      expect(written?.[1] === vector.signature).toBe(vector.deterministic);
    },
  );

  it.each(vectors.transformations)('B.4: whether it survives that $name', ({ holds, message }) => {
    const vector = vectors.cases.find(({ label }) => label === 'transform');
    if (!vector) throw new Error('no such vector');
    const received = signed(message, vector);
    const signature = onlySignature(received);
    const base = value(signatureBase(received, signature));
    expect(base === vector.base).toBe(holds);
    expect(crypto.verify(spkiOf(vector.key), utf8(base), signature.signature)).toBe(holds);
  });

  it.each(['test-request', 'test-response'])('B.2: the digest of %s is the one of its body', (name) => {
    const { headers, body = '' } = named(vectors.messages, name);
    expect(headers.find(([key]) => key === 'content-digest')?.[1]).toBe(
      `sha-512=:${createHash('sha512').update(body).digest('base64')}:`,
    );
  });
});

const request = (changes: Partial<RequestMessage> = {}): RequestMessage => ({
  method: 'POST',
  scheme: 'https',
  path: '/path',
  query: '?param=value',
  headers: [['host', 'www.example.com']],
  ...changes,
});

/** The lines of the base of what `identifiers` name, without the last one. */
function lines(message: Message, identifiers: string, fieldTypes?: FieldTypes) {
  return readSignatures([
    ['signature-input', `sig=(${identifiers})`],
    ['signature', 'sig=:AA==:'],
  ]).andThen(([input]) =>
    input
      ? signatureBase(message, input, componentReader(message, fieldTypes)).map((base) => {
          expect(base.split('\n').at(-1)).toBe(`"@signature-params": (${identifiers})`);
          return base.split('\n').slice(0, -1);
        })
      : readSignatures([]).map(() => [] as string[]),
  );
}
const shown = (...parameters: Parameters<typeof lines>) => value(lines(...parameters));
const refused = (...parameters: Parameters<typeof lines>) => failure(lines(...parameters));

describe('fields (RFC 9421 section 2.1)', () => {
  const headers: HeaderList = [
    ['host', 'www.example.com'],
    ['date', 'Tue, 20 Apr 2021 02:07:56 GMT'],
    ['x-ows-header', '  Leading and trailing whitespace.  \t '],
    ['x-obs-fold-header', 'Obsolete\r\n    line folding.'],
    ['cache-control', 'max-age=60'],
    ['cache-control', '   must-revalidate'],
    ['x-empty-header', ''],
    ['example-dict', ' a=1,    b=2;x=1;y=2,   c=(a   b   c)'],
    ['example-dict', 'd'],
    ['example-list', '(a  b);c ,  "d" '],
    ['example-item', ' text;a '],
  ];
  const types: FieldTypes = { 'example-dict': 'dictionary', 'example-list': 'list', 'example-item': 'item' };

  it('are trimmed, unfolded and joined', () => {
    expect(
      shown(
        request({ headers }),
        '"date" "x-ows-header" "x-obs-fold-header" "cache-control" "x-empty-header" "example-dict"',
      ),
    ).toEqual([
      '"date": Tue, 20 Apr 2021 02:07:56 GMT',
      '"x-ows-header": Leading and trailing whitespace.',
      '"x-obs-fold-header": Obsolete line folding.',
      '"cache-control": max-age=60, must-revalidate',
      '"x-empty-header": ',
      '"example-dict": a=1,    b=2;x=1;y=2,   c=(a   b   c), d',
    ]);
  });

  it(';sf writes what is structured anew', () => {
    expect(
      shown(request({ headers }), '"example-dict";sf "example-list";sf "example-item";sf', types),
    ).toEqual([
      '"example-dict";sf: a=1, b=2;x=1;y=2, c=(a b c), d',
      '"example-list";sf: (a b);c, "d"',
      '"example-item";sf: text;a',
    ]);
    expect(refused(request({ headers }), '"example-dict";sf')).toContain('not known how');
    expect(refused(request({ headers }), '"date";sf', { date: 'item' })).toContain('malformed');
    expect(refused(request({ headers: [['constructor', 'a']] }), '"constructor";sf')).toContain('not known');
  });

  it(';key takes one member', () => {
    expect(
      shown(
        request({ headers }),
        '"example-dict";key="a" "example-dict";key="d" "example-dict";key="b" "example-dict";key="c"',
      ),
    ).toEqual([
      '"example-dict";key="a": 1',
      '"example-dict";key="d": ?1',
      '"example-dict";key="b": 2;x=1;y=2',
      '"example-dict";key="c": (a b c)',
    ]);
    expect(refused(request({ headers }), '"example-dict";key="e"')).toContain('no member e');
    expect(refused(request({ headers }), '"example-list";key="a"', types)).toContain('no dictionary');
    expect(refused(request({ headers }), '"x-ows-header";key="a"')).toContain('malformed');
  });

  it('a decimal that would be written back differently is refused, one in a string is not', () => {
    const decimal = (text: string) => request({ headers: [['priority', text]] });
    expect(refused(decimal('u=1.0'), '"priority";key="u"')).toContain('decimal');
    expect(refused(decimal('u=1.0'), '"priority";sf')).toContain('decimal');
    expect(shown(decimal('u="1.0 \\" 1.0", v=1.50'), '"priority";sf')).toEqual([
      '"priority";sf: u="1.0 \\" 1.0", v=1.5',
    ]);
  });

  it(';bs wraps every line', () => {
    const cookies: HeaderList = [
      ['example-header', 'value, with, lots'],
      ['example-header', ' of, commas'],
    ];
    expect(shown(request({ headers: cookies }), '"example-header";bs')).toEqual([
      '"example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:',
    ]);
    expect(shown(request({ headers: [['x', 'caf\xe9']] }), '"x";bs')).toEqual(['"x";bs: :Y2Fm6Q==:']);
    expect(refused(request({ headers: [['x', '€']] }), '"x";bs')).toContain('bytes');
  });

  it.each([
    ['a\nb', 'a line break'],
    ['a\r\n"@method": GET', 'a line that looks like another'],
    ['a\rb', 'a carriage return'],
    ['caf\xe9', 'a byte that is not ASCII'],
    ['a\xa0', 'a no-break space at its end'],
    ['a\0', 'a NUL'],
  ])('%j is refused: %s', (value) => {
    expect(refused(request({ headers: [['x', value]] }), '"x"')).toContain('not printable');
  });

  it('a missing one is refused', () => {
    expect(refused(request(), '"date"')).toBe('date is missing');
  });
});

describe('derived components (RFC 9421 section 2.2)', () => {
  it('gives those of a request', () => {
    expect(
      shown(request(), '"@method" "@target-uri" "@authority" "@scheme" "@request-target" "@path" "@query"'),
    ).toEqual([
      '"@method": POST',
      '"@target-uri": https://www.example.com/path?param=value',
      '"@authority": www.example.com',
      '"@scheme": https',
      '"@request-target": /path?param=value',
      '"@path": /path',
      '"@query": ?param=value',
    ]);
    expect(shown(request({ path: '', query: '' }), '"@path" "@query"')).toEqual([
      '"@path": /',
      '"@query": ?',
    ]);
  });

  it.each([
    ['WWW.Example.COM', 'www.example.com'],
    ['example.com:443', 'example.com'],
    ['example.com:80', 'example.com:80'],
    ['example.com:', 'example.com'],
    [' example.com:7443 ', 'example.com:7443'],
    ['[2001:DB8::1]:443', '[2001:db8::1]'],
    ['[::1]:7443', '[::1]:7443'],
  ])('@authority of %j is %s', (host, expected) => {
    expect(shown(request({ headers: [['host', host]] }), '"@authority"')).toEqual([
      `"@authority": ${expected}`,
    ]);
  });

  it('@authority drops the default port of the scheme', () => {
    const http = (host: string) => request({ scheme: 'http', headers: [['host', host]] });
    expect(shown(http('a:80'), '"@authority"')).toEqual(['"@authority": a']);
    expect(shown(http('a:443'), '"@authority"')).toEqual(['"@authority": a:443']);
  });

  it.each([
    [[]],
    [['']],
    [['a', 'a']],
    [['a b']],
    [['user@a']],
    [['a/b']],
    [['a:b']],
    [['a, b']],
    [['[::1']],
    [['a:1:2']],
  ])('@authority is refused for Host %j', (hosts) => {
    expect(
      refused(request({ headers: hosts.map((host) => ['host', host] as const) }), '"@authority"'),
    ).toMatch(/Host/);
  });

  it('@query-param is decoded and encoded again, and must be there once', () => {
    const query =
      "?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&qux=&x=!*'()~&twice=1&twice=2";
    expect(
      shown(
        request({ query }),
        '"@query-param";name="var" "@query-param";name="bar" "@query-param";name="fa%C3%A7ade%22%3A%20" "@query-param";name="qux" "@query-param";name="x"',
      ),
    ).toEqual([
      '"@query-param";name="var": this%20is%20a%20big%0Amultiline%20value',
      '"@query-param";name="bar": with%20plus%20whitespace',
      '"@query-param";name="fa%C3%A7ade%22%3A%20": something',
      '"@query-param";name="qux": ',
      '"@query-param";name="x": %21*%27%28%29%7E',
    ]);
    expect(refused(request({ query }), '"@query-param";name="twice"')).toContain('several times');
    expect(refused(request({ query }), '"@query-param";name="none"')).toContain('no such parameter');
  });

  it('@status is of answers, all others of requests', () => {
    const answer: ResponseMessage = { status: 503, headers: [], request: request() };
    expect(shown(answer, '"@status" "@method";req "@authority";req "@path";req')).toEqual([
      '"@status": 503',
      '"@method";req: POST',
      '"@authority";req: www.example.com',
      '"@path";req: /path',
    ]);
    expect(refused(request(), '"@status"')).toContain('of answers');
    expect(refused(answer, '"@method"')).toContain('of requests');
    expect(refused({ status: 99, headers: [] }, '"@status"')).toContain('three digits');
  });

  it(';req needs an answer with its request', () => {
    expect(refused(request(), '"@method";req')).toContain('for answers');
    expect(refused({ status: 200, headers: [] }, '"host";req')).toContain('needs the request');
    expect(shown({ status: 200, headers: [['host', 'x']], request: request() }, '"host" "host";req')).toEqual(
      ['"host": x', '"host";req: www.example.com'],
    );
  });

  it('the example of section 2.4 binds an answer to the signature of its request', () => {
    const signature = 'sig1=:8v+JdFKbtGkQRNpcpkIXKLlzDb8=:';
    const input = 'sig1=("@method" "@path");created=1618884475;keyid="test-key-rsa-pss"';
    const answered = request({
      headers: [
        ['host', 'a'],
        ['signature-input', input],
        ['signature', signature],
      ],
    });
    expect(
      shown(
        { status: 503, headers: [], request: answered },
        '"@status" "signature-input";req;key="sig1" "signature";req;key="sig1"',
      ),
    ).toEqual([
      '"@status": 503',
      `"signature-input";req;key="sig1": ${input.slice(5)}`,
      `"signature";req;key="sig1": ${signature.slice(5)}`,
    ]);
  });
});

describe('component identifiers', () => {
  it.each([
    '"@method";sf',
    '"@method";req=1',
    '"@unknown"',
    '"@signature-params"',
    '"@query-param"',
    '"@query-param";name=a',
    '"@status";req',
    '"Content-Type"',
    '"a b"',
    '""',
    '"a";tr',
    '"a";other',
    '"a";sf=?0',
    '"a";sf;bs',
    '"a";key="b";bs',
    '"a";key',
    '"a";name="b"',
    'token',
    '"a" "a"',
    '"@query-param";name="a" "@query-param";name="a"',
  ])('(%s) is refused', (identifiers) => {
    expect(typeof refused(request({ headers: [['a', '1']] }), identifiers)).toBe('string');
  });

  it('the order of parameters makes no other component', () => {
    const answer: ResponseMessage = { status: 200, headers: [], request: request() };
    expect(refused(answer, '"host";req;bs "host";bs;req')).toContain('twice');
    expect(shown(answer, '"host";req;bs "host";req')).toHaveLength(2);
  });

  it('the same name with other parameters is another component', () => {
    const answer: ResponseMessage = {
      status: 200,
      headers: [['a', '1']],
      request: request({ headers: [['a', '2']] }),
    };
    expect(shown(answer, '"a" "a";req')).toEqual(['"a": 1', '"a";req: 2']);
  });

  it('one that cannot be written is an error, not a throw', () => {
    expect(component('a', new Map([['key', 'é']])).isErr()).toBe(true);
    expect(component('@query-param', new Map([['name', '€']])).isErr()).toBe(true);
    expect(signatureInput('sig', [], new Map([['nonce', 'é']])).isErr()).toBe(true);
    expect(signatureInput('Sig', [], new Map()).isErr()).toBe(true);
  });
});

describe('reading signatures', () => {
  const read = (input?: string, signature?: string) =>
    readSignatures([
      ...(input === undefined ? [] : [['signature-input', input] as const]),
      ...(signature === undefined ? [] : [['signature', signature] as const]),
    ]);

  it('there may be none', () => {
    expect(value(read())).toEqual([]);
  });

  it('several are told apart by label and by tag, whatever the lines and the space between them', () => {
    const all = value(
      readSignatures([
        ['signature-input', 'a=("@method");tag="x",b=("@path");tag="y"'],
        ['signature-input', ' c=();tag="y" '],
        ['signature', 'c=:AQ==:  ,  b=:Ag==:'],
        ['signature', 'a=:Aw==:'],
      ]),
    );
    expect(all.map(({ label, text, signature }) => [label, text, [...signature]])).toEqual([
      ['a', '("@method");tag="x"', [3]],
      ['b', '("@path");tag="y"', [2]],
      ['c', '();tag="y"', [1]],
    ]);
    expect(value(withTag(all, 'x'))?.label).toBe('a');
    expect(value(withTag(all, 'z'))).toBeUndefined();
    expect(failure(withTag(all, 'y'))).toContain('several');
    expect(withLabel(all, 'b')?.text).toBe('("@path");tag="y"');
    expect(withLabel(all, 'd')).toBeUndefined();
  });

  it.each([
    ['only signature-input', 'a=()', undefined],
    ['only signature', undefined, 'a=:AA==:'],
    ['other labels', 'a=()', 'b=:AA==:'],
    ['a label without a signature', 'a=(), b=()', 'a=:AA==:'],
    ['a signature without an input', 'a=()', 'a=:AA==:, b=:AA==:'],
    ['an input that is no list', 'a="x"', 'a=:AA==:'],
    ['a signature that is a string', 'a=()', 'a="AA=="'],
    ['a signature that is a list', 'a=()', 'a=(:AA==:)'],
    ['no dictionary', '(', 'a=:AA==:'],
    ['a trailing comma', 'a=(),', 'a=:AA==:'],
    ['a label twice', 'a=("@method"), a=()', 'a=:AA==:'],
    ['a signature twice', 'a=()', 'a=:AQ==:, a=:AA==:'],
    ['a parameter twice', 'a=();created=1;created=2', 'a=:AA==:'],
    ['a parameter of a component twice', 'a=("x";key="a";key="b")', 'a=:AA==:'],
    ['a decimal in place of an integer', 'a=();created=1.0', 'a=:AA==:'],
    ['bytes spelled differently', 'a=()', 'a=:AB==:'],
    ['bytes without padding', 'a=()', 'a=:AA:'],
    ['spaces in a list', 'a=( "@method" )', 'a=:AA==:'],
    ['a tab between components', 'a=("@method"\t"@path")', 'a=:AA==:'],
    ['a component that is not ASCII', 'a=("é")', 'a=:AA==:'],
  ])('refused: %s', (_what, input, signature) => {
    expect(typeof failure(read(input, signature))).toBe('string');
  });

  it('refuses what is too long, too many or covers too much', () => {
    const many = (count: number, text: (index: number) => string, by: string) =>
      Array.from({ length: count }, (_, index) => text(index)).join(by);
    const { fieldLength, signatures, components } = signatureLimits;
    const several = (count: number) =>
      read(
        many(count, (index) => `s${index}=()`, ', '),
        many(count, (index) => `s${index}=:AA==:`, ', '),
      );
    const covering = (count: number) => read(`a=(${many(count, (index) => `"h${index}"`, ' ')})`, 'a=:AA==:');
    expect(several(signatures).isOk()).toBe(true);
    expect(failure(several(signatures + 1))).toContain('more than');
    expect(covering(components).isOk()).toBe(true);
    expect(failure(covering(components + 1))).toContain('more than');
    expect(failure(read(`a=();x="${'y'.repeat(fieldLength)}"`, 'a=:AA==:'))).toContain('longer');
    expect(failure(read('a=()', `a=:${'A'.repeat(fieldLength)}:`))).toContain('longer');
  });

  it('never throws, and what it accepts can be written back', () => {
    const piece = fc.constantFrom(
      'a',
      'sig',
      '=',
      '(',
      ')',
      '"',
      '"@method"',
      '"x"',
      ';',
      ',',
      ' ',
      ':',
      ':AA==:',
      'created',
      '1',
      '.0',
      '-',
      '?1',
      '@1',
      '%"',
      '\\',
      'key="a"',
      'req',
      'sf',
      'é',
      '\t',
      '\n',
      '\0',
      '__proto__',
      'constructor',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 24 }).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, text, text, (input, signature, given) => {
        const headers: HeaderList = [
          ['signature-input', input],
          ['signature', signature],
          ['x', given],
        ];
        const read = readSignatures(headers);
        for (const found of read.unwrapOr([])) {
          const again = value(readSignatures(signatureHeaders(found, found.signature)));
          expect(again).toEqual([found]);
          signatureBase(request({ headers }), found);
          signatureBase({ status: 200, headers, request: request({ headers }) }, found);
        }
        lines(request({ headers, query: `?${given}` }), '"x";sf "x" "@query-param";name="a"', { x: 'list' });
        lines(request({ headers }), '"x";key="a"');
      }),
      { numRuns: 2000 },
    );
  });
});
