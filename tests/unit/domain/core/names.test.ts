import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newAgentName } from '../../../../src/domain/core/host-argument.js';
import {
  agentName,
  dispatcherId,
  dispatcherIdFromHostName,
  isReqid,
  printable,
  scriptName,
} from '../../../../src/domain/core/names.js';
import { failure, value } from '../../../contract/result.js';

const anyText = fc.string({ unit: 'binary', maxLength: 300 });

describe('agentName', () => {
  it.each([
    ['web-01', 'web-01'],
    ['Web-01.Example.COM', 'web-01.example.com'],
    ['7', '7'],
    ['a'.repeat(64), 'a'.repeat(64)],
    ['a_b', 'a_b'],
  ])('%s is stored as %s', (text, name) => expect(value(agentName(text))).toBe(name));

  it.each([
    '',
    '-a',
    'a-',
    '.',
    '..',
    'a/b',
    'a b',
    'a\n',
    'é',
    'a'.repeat(65),
    '\u212Aelvin',
    '../etc',
    'a\0',
  ])('%j is not a name', (text) => {
    const error = failure(agentName(text));
    expect(error).toMatchObject({ code: 'invalid_argument', field: 'name' });
    expect(error.message).toMatch(/expected at most 64 letters/);
    expect(error.message).not.toMatch(/\p{Cc}/u);
  });

  it.each([
    'localhost',
    'LocalHost',
    'localhost.localdomain',
    'web.localhost',
    '10.0.0.1',
    '127.1',
    '0x7f.1',
    '0x7F000001',
    '0177.0.0.1',
    '2130706433',
    '1.2.65535',
    '::1',
    'fe80::1%eth0',
    '2001:db8::1',
  ])('%s is given to no agent, and one that has it keeps it', (text) => {
    const { message } = failure(newAgentName(text, 'rename'));
    expect(message).toMatch(
      /^"\S+" cannot be the name of an agent, because (every host has|it is an address).*: give another one$/,
    );
    expect(agentName(text).isOk()).toBe(!text.includes(':'));
  });

  it.each([
    'web-01',
    '10.0.0.256',
    '1.2.3.4.5',
    '1.2.65536',
    '4294967296',
    'localhost-1',
    'localhost.example.org',
    '10-0-0-1',
    'a.1',
    '0xg',
  ])('%s is a name that may be given', (text) => expect(value(newAgentName(text))).toBe(text));

  it('a name is a name again, unchanged', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/), (text) => {
        const name = value(agentName(text));
        expect(name).toMatch(/^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/);
        expect(value(agentName(name))).toBe(name);
      }),
    );
  });
});

describe('dispatcherId', () => {
  it('keeps its case', () => expect(value(dispatcherId('Ctl-1.x'))).toBe('Ctl-1.x'));
  it.each(['', '-a', '.a', 'a b', 'a\n', 'a'.repeat(65)])('%j is refused', (text) =>
    expect(dispatcherId(text).isErr()).toBe(true),
  );

  it('is not legacy, which stands for dispatchers without one; other names that begin so are', () => {
    expect(failure(dispatcherId('legacy')).message).toContain('stands for dispatchers that have none');
    expect(dispatcherIdFromHostName('legacy')).toBe('dispatcher');
    for (const text of ['legacy-1', 'Legacy', 'legacy.example']) expect(value(dispatcherId(text))).toBe(text);
  });
  it('can be made from whatever a host calls itself', () => {
    expect(dispatcherIdFromHostName('ctl.example.com')).toBe('ctl.example.com');
    expect(dispatcherIdFromHostName('_büro 1')).toBe('b-ro-1');
    expect(dispatcherIdFromHostName('')).toBe('dispatcher');
    fc.assert(
      fc.property(anyText, (host) => {
        expect(dispatcherId(dispatcherIdFromHostName(host)).isOk()).toBe(true);
      }),
    );
  });
});

describe('scriptName and isReqid', () => {
  it.each(['deploy', 'A_b-9', 'a'.repeat(255)])('%s names a script', (text) =>
    expect(value(scriptName(text))).toBe(text),
  );
  it.each(['', 'a.sh', '../a', 'a b', 'a\n', 'a'.repeat(256)])('%j names no script', (text) =>
    expect(failure(scriptName(text)).field).toBe('script'),
  );

  it.each(['eab1731a91c588ee', 'A-_9', 'a'.repeat(64)])('%s is a request id', (text) =>
    expect(isReqid(text)).toBe(true),
  );
  it.each(['', 'a.b', '../x', 'a\n', 'a'.repeat(65)])('%j is not a request id', (text) =>
    expect(isReqid(text)).toBe(false),
  );
});

describe('printable', () => {
  it.each([
    ['plain text, "quoted" é 漢', 'plain text, "quoted" é 漢'],
    ['a\nb\r\tc', 'a\\nb\\r\\tc'],
    ['\u001b[2J', '\\u001b[2J'],
    ['\u0085\u2028', '\\u0085\\u2028'],
    ['a\u202Eb\u200B\uFEFF', 'a\\u202eb\\u200b\\ufeff'],
    ['\u{E0041}', '\\u{e0041}'],
    ['\uD800', '\\ud800'],
  ])('%j is shown as %s', (text, shown) => expect(printable(text)).toBe(shown));

  it('is cut at the limit, never within an escape', () => {
    expect(printable('abcdef', 6)).toBe('abcdef');
    expect(printable('abcdefg', 6)).toBe('abcde…');
    expect(printable('ab\u001bcd', 6)).toBe('ab…');
    expect(printable('abc', 0)).toBe('');
    expect(printable('x'.repeat(10_000_000))).toHaveLength(120);
  });

  it('any text becomes one safe line within the limit, and a second pass changes nothing', () => {
    fc.assert(
      fc.property(anyText, fc.nat(200), (text, limit) => {
        const shown = printable(text, limit);
        expect(shown.length).toBeLessThanOrEqual(limit);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
        expect(printable(shown, limit)).toBe(shown);
      }),
    );
  });
});
