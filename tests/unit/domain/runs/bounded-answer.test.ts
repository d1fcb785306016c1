import {
  assert,
  constantFrom,
  dictionary,
  integer,
  jsonValue,
  property,
  record,
  string,
  uint8Array,
} from 'fast-check';
import { err, type Result } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { base64, utf8 } from '../../../../src/domain/core/bytes.js';
import { parseJsonObject } from '../../../../src/domain/core/json.js';
import { boundedAnswer, maxAnswerBesidesOutput } from '../../../../src/domain/runs/bounded-answer.js';
import { failure, value } from '../../../contract/result.js';

/** Reads bytes in pieces whose sizes are taken from `sizes`, again and again. */
function read(
  bytes: Uint8Array,
  limit: number,
  sizes: readonly number[] = [bytes.length || 1],
): Result<Record<string, unknown>, string> {
  const answer = boundedAnswer(limit);
  for (let at = 0, round = 0; at < bytes.length; round++) {
    const size = sizes[round % sizes.length] ?? 1;
    const taken = answer.add(bytes.subarray(at, at + size));
    if (taken.isErr()) return err(taken.error);
    at += size;
  }
  return answer.end();
}

const sizes = integer({ min: 1, max: 40 });
/** The text with every character as an escape. */
const escapedText = (text: string) =>
  [...Array(text.length).keys()]
    .map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`)
    .join('');

describe('an answer that is small enough', () => {
  it('is the object that it is without limits, however it is split', () => {
    const text = string({ unit: 'grapheme', maxLength: 200 });
    const answers = record(
      {
        stdout: text,
        stderr: text,
        exit: integer(),
        truncated: jsonValue({ maxDepth: 1 }),
        more: jsonValue(),
      },
      { requiredKeys: [] },
    );
    assert(
      property(answers, dictionary(string(), jsonValue()), sizes, sizes, (answer, others, one, two) => {
        const bytes = utf8(JSON.stringify({ ...others, ...answer }));
        const whole = parseJsonObject(bytes);
        const bounded = read(bytes, 65_536, [one, two]);
        expect(bounded.isOk()).toBe(whole.isOk());
        if (whole.isOk()) expect(value(bounded)).toEqual(whole.value);
      }),
    );
  });

  it('may have its members in any order, spaced and escaped in any way', () => {
    const text = 'a"\\/\b\f\n\r\té€😀\u0000';
    const json = `{ "exit" : 0 ,\n"std\\u006fut"\t:\r\n"${escapedText(text)}", "stderr":${JSON.stringify(text)}, "in":{"stdout":"x"},"list":["stdout",{"stdout":7}] }`;
    for (const size of [1, 2, 3, 7, 1000]) {
      const answer = value(read(utf8(json), 1024, [size]));
      expect(answer).toEqual(JSON.parse(json));
      expect(answer['stdout']).toBe(text);
    }
  });

  it('keeps what is no text as it is', () => {
    const json = '{"stdout":7,"stderr":["a"],"stdout_base64":null,"stderr_base64":{"stdout":"x"}}';
    expect(value(read(utf8(json), 64))).toEqual(JSON.parse(json));
  });

  it('is judged as it is without limits, whatever was broken in it', () => {
    const good = utf8('{"exit":0,"stdout":"a\\n\\ud83d\\ude00\u00e9","list":[1,{"a":true}],"stderr":"b"}');
    assert(
      property(
        integer({ min: 0, max: good.length - 1 }),
        integer({ min: 0, max: 255 }),
        sizes,
        (at, byte, size) => {
          const bytes = good.slice();
          bytes[at] = byte;
          const whole = parseJsonObject(bytes);
          const bounded = read(bytes, 1024, [size]);
          expect(bounded.isOk()).toBe(whole.isOk());
          if (whole.isOk()) expect(value(bounded)).toEqual(whole.value);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['nothing', ''],
    ['an end within a string', '{"stdout":"a'],
    ['an end within an escape', '{"stdout":"a\\u00'],
    ['an end within the object', '{"stdout":"a"'],
    ['something after the object', '{"stdout":"a"}{}'],
    ['two strings as one value', '{"stdout":"a""b"}'],
    ['a string after another value', '{"stdout":1"a"}'],
    ['an array', '["stdout","a"]'],
    ['a text alone', '"stdout"'],
    ['a member twice', '{"stdout":"a","stdout":"b"}'],
    ['a member twice, escaped', '{"stdout":"a","\\u0073tdout":"b"}'],
    ['half of a pair', '{"stdout":"\\ud83d"}'],
    ['the wrong half of a pair', '{"stdout":"\\ude00"}'],
    ['half of a pair before a character', '{"stdout":"\\ud83dx"}'],
    ['half of a pair before another escape', '{"stdout":"\\ud83d\\n"}'],
    ['an unknown escape', '{"stdout":"\\x"}'],
    ['a line break in a string', '{"stdout":"\n"}'],
    ['no hex digit', '{"stdout":"\\u00g0"}'],
    ['too deep nesting', `{"a":${'['.repeat(65)}${']'.repeat(65)}}`],
  ])('is not %s', (_what, json) => {
    for (const size of [1, 5, 1000])
      expect(failure(read(utf8(json), 64, [size]))).toEqual(expect.any(String));
  });

  it.each([
    ['a byte that is none', [0xff]],
    ['half of a character', [0xc3]],
    ['half of a pair in UTF-8', [0xed, 0xa0, 0x80]],
  ])('is UTF-8, not %s', (_what, bytes) => {
    const json = Uint8Array.from([...utf8('{"stdout":"'), ...bytes, ...utf8('"}')]);
    for (const size of [1, 1000]) expect(failure(read(json, 64, [size]))).toBe('not valid UTF-8');
  });
});

describe('an output that is larger', () => {
  it('is cut to head and tail, and its true size told', () => {
    assert(
      property(
        string({ unit: 'grapheme', minLength: 70, maxLength: 400 }),
        constantFrom('stdout' as const, 'stderr' as const),
        sizes,
        (text, stream, size) => {
          const total = utf8(text).length;
          const answer = value(read(utf8(JSON.stringify({ exit: 0, [stream]: text })), 64, [size]));
          const kept = String(answer[stream]);
          expect(utf8(kept).length).toBeLessThanOrEqual(64);
          expect(utf8(kept).length).toBeGreaterThan(64 - 7);
          expect(text.startsWith(kept.slice(0, 7)) && text.endsWith(kept.slice(-7))).toBe(true);
          expect(answer).toEqual({ exit: 0, [stream]: kept, truncated: { [stream]: total } });
        },
      ),
    );
  });

  it('is said to have the bytes that the agent says, where these are more', () => {
    const json = (said: unknown) =>
      utf8(JSON.stringify({ truncated: said, stdout: 'x'.repeat(100), stderr: '' }));
    const told = (said: unknown) => value(read(json(said), 64))['truncated'];
    expect(told({ stdout: 5000, stderr: 7 })).toEqual({ stdout: 5000, stderr: 7 });
    expect(told({ stdout: 5 })).toEqual({ stdout: 100 });
    for (const odd of ['x', null, [1], { stdout: 'many' }]) expect(told(odd)).toMatchObject({ stdout: 100 });
  });

  it('of bytes is cut as base64 that can be read, and says it all where the text is there, too', () => {
    assert(
      property(uint8Array({ minLength: 60, maxLength: 300 }), sizes, (bytes, size) => {
        const text = new TextDecoder().decode(bytes);
        const sent = { stdout: text, stdout_base64: base64(bytes), exit: 0 };
        const answer = value(read(utf8(JSON.stringify(sent)), 64, [size]));
        const kept = Buffer.from(String(answer['stdout_base64']), 'base64');
        expect(base64(kept)).toBe(answer['stdout_base64']);
        expect(kept.subarray(0, 24)).toEqual(Buffer.from(bytes.subarray(0, 24)));
        expect(bytes.length - 24 >= 0 && kept.subarray(-18).equals(bytes.subarray(-18))).toBe(true);
        expect(answer).toMatchObject({ stdout: '', truncated: { stdout: bytes.length } });
      }),
    );
  });

  it('as text beside its base64 is no cut of the output where that is whole', () => {
    const sent = { stdout: '\ufffd'.repeat(30), stdout_base64: base64(new Uint8Array(30).fill(0xff)) };
    expect(value(read(utf8(JSON.stringify(sent)), 64))).toEqual({ ...sent, stdout: '' });
  });

  it('is no base64 where its length is none of base64', () => {
    expect(failure(read(utf8(JSON.stringify({ stdout_base64: 'A'.repeat(101) })), 64))).toBe(
      'its output is no base64',
    );
  });
});

it('everything else is bounded', () => {
  const padding = ' '.repeat(maxAnswerBesidesOutput);
  for (const json of [`{${padding}}`, `{"a":"${padding}"}`, `{"${padding}":1}`])
    expect(failure(read(utf8(json), 64, [65_536]))).toBe(
      `more than ${maxAnswerBesidesOutput} bytes besides the output`,
    );
});

it('an error stays, whatever comes after it', () => {
  const answer = boundedAnswer(64);
  expect(answer.add(utf8('{"stdout":"\n')).isErr()).toBe(true);
  expect(failure(answer.add(utf8('"}')))).toBe('not valid JSON');
  expect(failure(answer.end())).toBe('not valid JSON');
});
