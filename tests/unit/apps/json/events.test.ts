import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outputText } from '../../../../src/apps/json/events.js';

const piece = (bytes: Uint8Array, host = 'web-01', stream: 'stdout' | 'stderr' = 'stdout') => ({
  host,
  stream,
  bytes,
});
const of = (...bytes: number[]) => Uint8Array.from(bytes);
const bytesOf = (event: object) =>
  'text' in event
    ? Buffer.from(String(event.text))
    : Buffer.from(String(Reflect.get(event, 'base64')), 'base64');

describe('output as events', () => {
  it('a character that is cut stays whole, and streams do not mix', () => {
    const output = outputText();
    expect(output.take(piece(of(0x61, 0xe2, 0x82)))).toEqual({ host: 'web-01', stream: 'stdout', text: 'a' });
    expect(output.take(piece(of(0xc3), 'web-01', 'stderr'))).toBeUndefined();
    expect(output.take(piece(of(0x62), 'web-02'))).toEqual({ host: 'web-02', stream: 'stdout', text: 'b' });
    expect(output.take(piece(of(0xac)))).toEqual({ host: 'web-01', stream: 'stdout', text: '€' });
    expect(output.take(piece(of(0xa9), 'web-01', 'stderr'))).toEqual({
      host: 'web-01',
      stream: 'stderr',
      text: 'é',
    });
    expect(output.end('web-01')).toEqual([]);
  });

  it('what is no UTF-8 comes as base64, also the beginning of a character that never came', () => {
    const output = outputText();
    expect(output.take(piece(of(0xff, 0x00)))).toEqual({ host: 'web-01', stream: 'stdout', base64: '/wA=' });
    expect(output.take(piece(of(0xf0, 0x9f)))).toBeUndefined();
    expect(output.end('web-02')).toEqual([]);
    expect(output.end('web-01')).toEqual([{ host: 'web-01', stream: 'stdout', base64: '8J8=' }]);
    expect(output.end('web-01')).toEqual([]);
  });

  it('a byte order mark is part of the output', () => {
    expect(outputText().take(piece(of(0xef, 0xbb, 0xbf, 0x61)))).toMatchObject({ text: '\ufeffa' });
  });

  it('text that is cut anywhere comes as text, and any bytes come as they were', () => {
    const cuts = fc.array(fc.nat(40), { maxLength: 8 });
    const pieces = (bytes: Uint8Array, at: number[]) => {
      const ends = [...new Set([...at.filter((cut) => cut < bytes.length), bytes.length])].sort(
        (a, b) => a - b,
      );
      return ends.map((end, index) => bytes.slice(ends[index - 1] ?? 0, end));
    };
    const events = (bytes: Uint8Array, at: number[]) => {
      const output = outputText();
      const taken = pieces(bytes, at).map((each) => output.take(piece(each)));
      return [...taken, ...output.end('web-01')].filter((each) => each !== undefined);
    };
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), cuts, (text, at) => {
        const told = events(new TextEncoder().encode(text), at);
        expect(told.map((each) => ('text' in each ? each.text : '?')).join('')).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), cuts, (bytes, at) => {
        expect(Buffer.concat(events(bytes, at).map(bytesOf))).toEqual(Buffer.from(bytes));
      }),
    );
  });
});
