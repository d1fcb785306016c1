import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { followedOutput } from '../../../../src/apps/cli/followed-output.js';
import { Bytes } from '../../../../src/domain/runs/host-result.js';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('output that is followed', () => {
  it('is shown in whole lines, each with its host; what has no end yet is held back', () => {
    const output = followedOutput();
    const take = (host: string, stream: 'stdout' | 'stderr', text: string) =>
      output.take({ host, stream, bytes: bytes(text) });
    expect(take('web-01', 'stdout', 'a\nb')).toBe('web-01: a\n');
    expect(take('web-02', 'stdout', 'c')).toBe('');
    expect(take('web-01', 'stderr', 'd\n')).toBe('web-01 STDERR: d\n');
    expect(take('web-01', 'stdout', 'b\r\n\n')).toBe('web-01: bb\nweb-01: \n');
    expect(output.end('web-01')).toBe('');
    expect(output.end('web-02')).toBe('web-02: c\n');
    expect(output.end('web-02')).toBe('');
  });

  it('knows of which hosts something was shown', () => {
    const output = followedOutput();
    output.take({ host: 'web-01', stream: 'stdout', bytes: new Uint8Array() });
    expect(output.wasShown('web-01')).toBe(false);
    output.take({ host: 'web-01', stream: 'stdout', bytes: bytes('a') });
    expect([output.wasShown('web-01'), output.wasShown('web-02')]).toEqual([true, false]);
  });

  it('knows whether as much was shown as was written, in bytes, also of output that was cut', () => {
    const output = followedOutput();
    output.take({ host: 'h', stream: 'stdout', bytes: bytes('é\n') });
    output.take({ host: 'h', stream: 'stderr', bytes: Uint8Array.of(0xff) });
    const all = { exit: 0, stdout: 'é\n', stderr: '\ufffd', stderrBytes: Bytes.of(0xff) as Bytes };
    expect(output.isAllOf('h', all)).toBe(true);
    expect(output.isAllOf('h', { ...all, stdout: 'é\nb' })).toBe(false);
    expect(output.isAllOf('h', { ...all, stderrBytes: Bytes.of(0xff, 0xff) as Bytes })).toBe(false);
    expect(output.isAllOf('h', { ...all, stdout: 'é', truncated: { stdout: 3 } })).toBe(true);
    expect(output.isAllOf('h', { ...all, truncated: { stdout: 4 } })).toBe(false);
    expect(output.isAllOf('other', { exit: 0, stdout: '', stderr: '' })).toBe(true);
  });

  it('puts characters together that came in pieces, and shows what is no text as such', () => {
    const output = followedOutput();
    const [one, two, three] = bytes('日');
    const take = (...values: (number | undefined)[]) =>
      output.take({ host: 'h', stream: 'stdout', bytes: Uint8Array.from(values.map((value) => value ?? 0)) });
    expect(take(one, two) + take(three, 10)).toBe('h: 日\n');
    expect(take(0xff, 10)).toBe('h: \ufffd\n');
    expect(take(one) + output.end('h')).toBe('h: \ufffd\n');
  });

  it('holds back no more than a line of 65,536 characters', () => {
    const output = followedOutput();
    const text = output.take({ host: 'h', stream: 'stdout', bytes: bytes('x'.repeat(200_000)) });
    expect(text.split('\n').map(({ length }) => length)).toEqual([65_539, 65_539, 65_539, 0]);
    expect(output.end('h')).toBe(`h: ${'x'.repeat(200_000 - 3 * 65_536)}\n`);
  });

  it('is one line of its own host and stream for each line end, whatever a script writes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (pieces) => {
        const output = followedOutput();
        let text = '';
        for (const piece of pieces) text += output.take({ host: 'h', stream: 'stdout', bytes: piece });
        text += output.end('h');
        const lines = text.split('\n');
        expect(lines.pop()).toBe('');
        expect(lines.every((line) => line.startsWith('h: '))).toBe(true);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none
        expect(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202e]/.test(text)).toBe(false);
        const ends = Buffer.concat(pieces).filter((byte) => byte === 10).length;
        expect([ends, ends + 1]).toContain(lines.length);
      }),
    );
  });
});
