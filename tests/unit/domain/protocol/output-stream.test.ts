import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import {
  endLine,
  idleLine,
  maxStreamChunk,
  outputLine,
  outputLines,
  type StreamLine,
  streamReader,
} from '../../../../src/domain/protocol/output-stream.js';
import { failure, value } from '../../../contract/result.js';

const crypto = nodeCrypto();
const reader = (maxEnd = 1024 * 1024) => streamReader(crypto.runningSha256(), maxEnd);
const digestOf = (...parts: Uint8Array[]) =>
  `sha-256=:${createHash('sha256').update(Buffer.concat(parts)).digest('base64')}:`;
const signature = { input: 'cx=()', signature: 'cx=:AA==:' };
const endOf = (...before: Uint8Array[]) =>
  endLine({ result: { exit: 0 }, digest: digestOf(...before), signature });
const text = (line: Uint8Array) => Buffer.from(line).toString();

describe('lines of output', () => {
  it('are text where the piece is UTF-8 on its own, else base64', () => {
    expect(text(outputLine('stdout', utf8('Grüße\n')))).toBe('{"t":"out","d":"Grüße\\n"}\n');
    expect(text(outputLine('stderr', Uint8Array.of(0xff, 0)))).toBe('{"t":"err","b":"/wA="}\n');
    expect(text(outputLine('stdout', utf8('ü').slice(0, 1)))).toBe('{"t":"out","b":"ww=="}\n');
  });

  it('are read byte for byte, however the output and the connection cut them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.string({ unit: 'binary' }).map(utf8))),
        fc.integer({ min: 1, max: 50 }),
        (pieces, size) => {
          const lines = pieces.map((piece, index) => outputLine(index % 2 ? 'stderr' : 'stdout', piece));
          const all = Buffer.concat([...lines, endOf(...lines)]);
          const reading = reader();
          const found: StreamLine[] = [];
          for (let at = 0; at < all.length; at += size)
            found.push(...value(reading.push(all.subarray(at, at + size))));
          expect(found.at(-1)).toMatchObject({ kind: 'end', result: { exit: 0 } });
          expect(found.slice(0, -1)).toEqual(
            pieces.map((bytes, index) => ({
              kind: 'output',
              stream: index % 2 ? 'stderr' : 'stdout',
              bytes: new Uint8Array(bytes),
            })),
          );
          expect(reading.whyIncomplete()).toBeUndefined();
        },
      ),
      { numRuns: 100 },
    );
  });

  it('of a large piece are several, cut between characters', () => {
    for (const text of ['é'.repeat(50_000), 'x€'.repeat(20_000), '😀'.repeat(20_000)]) {
      const lines = outputLines('stdout', utf8(text));
      expect(lines.length).toBeGreaterThan(3);
      const said = lines.map((line) => JSON.parse(Buffer.from(line).toString())['d']);
      expect(said.join('')).toBe(text);
    }
    const binary = new Uint8Array(70_000).fill(0x80);
    const read = value(reader().push(Buffer.concat(outputLines('stderr', binary))));
    const bytes = read.map((line) => (line.kind === 'output' ? line.bytes : new Uint8Array()));
    expect(Buffer.compare(Buffer.concat(bytes), binary)).toBe(0);
    expect(outputLines('stdout', new Uint8Array())).toEqual([]);
  });

  it('hold the largest piece of output, whatever is in it', () => {
    for (const byte of [0, 0x1f, 0x22, 0xff]) {
      const piece = new Uint8Array(maxStreamChunk).fill(byte);
      const [read] = value(reader().push(outputLine('stdout', piece)));
      expect(read).toEqual({ kind: 'output', stream: 'stdout', bytes: piece });
    }
  });
});

describe('a stream', () => {
  const lines = [outputLine('stdout', utf8('one')), idleLine(), outputLine('stderr', utf8('two'))];

  it('that stops before its end line is incomplete', () => {
    const reading = reader();
    value(reading.push(Buffer.concat(lines)));
    value(reading.push(endOf(...lines).slice(0, -1)));
    expect(reading.whyIncomplete()).toBe('it stopped before its end line');
  });

  it.each([
    ['a line is missing', [lines[0], lines[2]]],
    ['a line was added', [...lines, idleLine()]],
    ['lines have changed places', [lines[1], lines[0], lines[2]]],
    ['a byte is another one', [outputLine('stdout', utf8('ore')), lines[1], lines[2]]],
    ['a space was added', [utf8(' '), ...lines]],
  ])('is not taken where %s', (_what, changed) => {
    const reading = reader();
    const bytes = Buffer.concat([...changed.flatMap((line) => line ?? []), endOf(...lines)]);
    const reason = 'the digest of its end line is not the one of what came';
    expect(failure(reading.push(bytes))).toBe(reason);
    expect(failure(reading.push(endOf(...lines)))).toBe(reason);
    expect(reading.whyIncomplete()).toBe(reason);
  });

  it('ends with its end line', () => {
    const end = endOf(...lines);
    const reading = reader();
    value(reading.push(Buffer.concat([...lines, end])));
    expect(failure(reading.push(utf8('\n')))).toBe('something follows its end line');
    expect(failure(reader().push(Buffer.concat([...lines, end, end])))).toBe(
      'something follows its end line',
    );
  });

  it('may have lines of a kind that a later version knows; they count for the digest', () => {
    const later = utf8('{"t":"progress","of":7}\n');
    expect(value(reader().push(Buffer.concat([later, endOf(later)])))).toHaveLength(1);
    expect(
      reader()
        .push(Buffer.concat([later, endOf()]))
        .isErr(),
    ).toBe(true);
  });

  it.each([
    ['{"t":"out"}', 'one of its lines has neither "d" nor "b"'],
    ['{"t":"out","d":"a","b":"YQ=="}', 'one of its lines has neither "d" nor "b"'],
    ['{"t":"out","b":"YR=="}', 'one of its lines has neither "d" nor "b"'],
    ['{"t":"out","t":"err","d":"a"}', 'one of its lines is the name "t" occurs twice in one object'],
    ['', 'one of its lines is not valid JSON'],
    ['[]', 'one of its lines is not a JSON object'],
    ['{"t":"end","result":[],"digest":"","sig":{}}', 'its end line lacks "result", "digest" or "sig"'],
    ['{"t":"end","result":{},"digest":"","sig":{}}', '"sig" of its end line lacks "input" or "signature"'],
  ])('with the line %s is refused', (line, reason) => {
    expect(failure(reader().push(utf8(`${line}\n`)))).toBe(reason);
  });

  it('never makes its reader hold more than a line may have', () => {
    const longest = 6 * maxStreamChunk + 64;
    const output = reader();
    expect(output.push(new Uint8Array(longest).fill(32)).isOk()).toBe(true);
    expect(failure(output.push(utf8(' ')))).toBe('one of its lines is too long');
    const end = reader(longest + 100);
    const begin = utf8('{"t":"end",');
    for (const byte of begin) value(end.push(Uint8Array.of(byte)));
    value(end.push(new Uint8Array(longest + 100 - begin.length).fill(32)));
    expect(failure(end.push(utf8(' ')))).toBe('one of its lines is too long');
  });
});
