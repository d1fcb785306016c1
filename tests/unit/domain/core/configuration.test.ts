import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  contentLines,
  editConfiguration,
  parseConfiguration,
  valuesWithHash,
} from '../../../../src/domain/core/configuration.js';
import { failure, value } from '../../../contract/result.js';

const parse = (text: string) => parseConfiguration(text, '/etc/x.conf');
const settingOf = (text: string, key: string) => value(parse(text)).entries.get(key)?.value;

const key = fc.stringMatching(/^[a-z][a-z0-9_]{0,10}$/);
const oneLine = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/).filter((text) => !/(^|\s)#/.test(text));
const configurations = fc
  .record({
    top: fc.dictionary(key, oneLine, { maxKeys: 5 }),
    comment: oneLine,
    tags: fc.option(fc.dictionary(key, oneLine, { maxKeys: 3 })),
    end: fc.constantFrom('\n', '\r\n'),
    mark: fc.constantFrom('', '\uFEFF'),
    closed: fc.boolean(),
  })
  .map(({ top, comment, tags, end, mark, closed }) => {
    const lines = Object.entries(top).flatMap(([name, text]) => [`# ${comment}`, `${name}=${text}`]);
    if (tags)
      lines.push('', '# about tags', '[tags]', ...Object.entries(tags).map((pair) => pair.join(' = ')));
    return { text: mark + lines.join(end) + (closed ? end : ''), top, tags };
  });

describe('parseConfiguration', () => {
  it('reads keys, comments and sections, and keeps the line of each', () => {
    const parsed = value(
      parse(
        '# head\nport = 7443\n  bind=::1  \nempty =\nurl = a=b\n\n[tags]\nenv = prod\nwhat ever = 1\n[profile web]\nuser = www\n[ pull ]\nserver = x\n',
      ),
    );
    expect([...parsed.entries.values()]).toEqual([
      { key: 'port', value: '7443', line: 2 },
      { key: 'bind', value: '::1', line: 3 },
      { key: 'empty', value: '', line: 4 },
      { key: 'url', value: 'a=b', line: 5 },
    ]);
    expect(parsed.tags?.line).toBe(7);
    expect(parsed.tags?.entries.get('what ever')?.value).toBe('1');
    expect(parsed.profiles.get('web')?.entries.get('user')?.line).toBe(11);
    expect(parsed.pull?.entries.get('server')?.value).toBe('x');
  });

  it('a # at the start of a line or after white space begins a comment, in every section', () => {
    const parsed = value(
      parse(
        'port = 7443 # x\r\n\t# y\nempty = # z\nbind\t=\t::\t#\n[tags] # t = 1\nenv = prod # production # = 2\npass = a#b\n[pull] #\nserver = https://x/#y  # z\n[profile p]\nhash =#1\n#env = 2',
      ),
    );
    const read = (section = parsed.tags) =>
      [...(section?.entries.values() ?? [])].map(({ key, value, line }) => [key, value, line]);
    expect([...parsed.entries.values()].map(({ key, value }) => [key, value])).toEqual([
      ['port', '7443'],
      ['empty', ''],
      ['bind', '::'],
    ]);
    expect(read()).toEqual([
      ['env', 'prod', 6],
      ['pass', 'a#b', 7],
    ]);
    expect(read(parsed.pull)).toEqual([['server', 'https://x/#y', 9]]);
    expect(read(parsed.profiles.get('p'))).toEqual([['hash', '#1', 11]]);
    expect(valuesWithHash(parsed)).toEqual(
      [
        [7, 'pass'],
        [9, 'server'],
        [11, 'hash'],
      ].map(
        ([line, key]) =>
          `/etc/x.conf:${line}: the "#" in the value of ${key} is part of it: a comment needs a space before its "#"`,
      ),
    );
  });

  it('takes Windows line ends, a byte order mark, tabs and a file without a last line end', () => {
    expect(settingOf('\uFEFFport\t=\t1\r\nbind = ::', 'port')).toBe('1');
    expect(settingOf('\uFEFFport\t=\t1\r\nbind = ::', 'bind')).toBe('::');
  });

  it('an empty file sets nothing', () => {
    expect(value(parse(''))).toMatchObject({ tags: undefined, pull: undefined });
    expect(value(parse('')).entries.size).toBe(0);
  });

  it('the same key in two sections is no duplicate, and a section may go on later', () => {
    const parsed = value(parse('a = 1\n[tags]\na = 2\n[profile x]\na = 3\n[tags]\nb = 4'));
    expect([...(parsed.tags?.entries.keys() ?? [])]).toEqual(['a', 'b']);
  });

  it('a profile named like a section is not that section', () => {
    const parsed = value(parse('[profile tags]\na = 1'));
    expect(parsed.tags).toBeUndefined();
    expect(parsed.profiles.has('tags')).toBe(true);
  });

  it.each([
    ['a = 1\nb = 2\na = 3', 3, '"a" is set twice, in line 1 and in line 3'],
    ['[tags]\na = 1\n[profile p]\n[tags]\na = 1', 5, '"a" is set twice, in line 2 and in line 5'],
    ['# x\nport 7443', 2, '"port 7443" is not understood, expected key = value'],
    ['= 1', 1, '"" is not a key, expected key = value'],
    ['a b = 1', 1, '"a b" is not a key, expected key = value'],
    ['[tags]\n__proto__ = 1', 2, '"__proto__" is not a key, expected key = value'],
    ['[server]', 1, 'section "[server]" is not known, expected [tags], [profile NAME] or [pull]'],
    ['[profile]', 1, 'section "[profile]" is not known, expected [tags], [profile NAME] or [pull]'],
    ['[tags', 1, 'section "[tags" is not known, expected [tags], [profile NAME] or [pull]'],
    ['a = 1\0', 1, 'control character \\u0000 is not allowed'],
    ['a = 1\r = 2', 1, 'control character \\r is not allowed'],
    ['\n# \u001b[2J', 2, 'control character \\u001b is not allowed'],
    ['a = \u0085', 1, 'control character \\u0085 is not allowed'],
  ])('%j is refused with file, line and what is expected', (text, line, reason) => {
    expect(failure(parse(text))).toEqual({
      code: 'config_invalid',
      message: `/etc/x.conf:${line}: ${reason}`,
      file: '/etc/x.conf',
      line,
      reason,
    });
  });

  it('reads back what was written', () => {
    fc.assert(
      fc.property(configurations, ({ text, top, tags }) => {
        const parsed = value(parse(text));
        const read = (entries = parsed.entries) =>
          [...entries.values()].map((entry) => [entry.key, entry.value]);
        expect(read()).toEqual(Object.entries(top));
        expect(read(parsed.tags?.entries ?? new Map())).toEqual(Object.entries(tags ?? {}));
      }),
    );
  });

  it('never throws, and an error is one safe line', () => {
    const piece = fc.constantFrom(
      'a',
      '=',
      '\n',
      '\r',
      '[tags]',
      '[profile ',
      ']',
      '#',
      ' ',
      '\0',
      '\u202E',
      '\uFEFF',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        parse(given).mapErr(({ message }) => expect(message).not.toMatch(/[\p{Cc}\u202E]/u));
        editConfiguration(given, 'a', given);
      }),
      { numRuns: 1000 },
    );
  });

  // In time that grows with the square of the length each of these would take minutes, and the test end by its timeout.
  it('takes time in proportion to its length', () => {
    parse(`a = ${' '.repeat(500_000)}b`);
    parse(`[profile ${' '.repeat(500_000)}x`);
    expect(parse(`${' \t'.repeat(250_000)}x`).isErr()).toBe(true);
    expect(contentLines(`${' \t'.repeat(250_000)}x${' \t'.repeat(250_000)}`)).toHaveLength(1);
  });
});

describe('editConfiguration', () => {
  it.each([
    ['a = 1\nid = old # x\nb = 2\n', 'a = 1\nid = new # x\nb = 2\n'],
    ['id = a#b\t # x = y\r\nb = 2', 'id = new\t # x = y\r\nb = 2'],
    ['  id=old', 'id = new'],
    ['a = 1\r\nid = old\r\n', 'a = 1\r\nid = new\r\n'],
    ['', 'id = new\n'],
    ['# head\n', '# head\nid = new\n'],
    ['# head', '# head\nid = new\n'],
    ['a = 1', 'a = 1\nid = new\n'],
    ['a = 1\r\nb = 2', 'a = 1\r\nb = 2\r\nid = new\r\n'],
    ['a = 1\n# id = x\n\n[tags]\nid = tag\n', 'a = 1\nid = new\n# id = x\n\n[tags]\nid = tag\n'],
    ['# head\n\n# about tags\n[tags]\nid = tag\n', '# head\n\nid = new\n\n# about tags\n[tags]\nid = tag\n'],
    ['# head\n[tags]\n', '# head\nid = new\n\n[tags]\n'],
    ['[tags]\n', 'id = new\n\n[tags]\n'],
    ['\uFEFFid = old\n', '\uFEFFid = new\n'],
  ])('%j becomes %j', (text, expected) => expect(editConfiguration(text, 'id', 'new')).toBe(expected));

  it('a value cannot bring in a second line', () => {
    expect(editConfiguration('', 'id', 'a\nallow = 1\0')).toBe('id = a allow = 1\n');
  });

  it('sets just that key, keeps every other line as it was, and does so once', () => {
    fc.assert(
      fc.property(configurations, key, oneLine, ({ text, top, tags }, name, set) => {
        const edited = editConfiguration(text, name, set);
        const parsed = value(parse(edited));
        expect(Object.fromEntries([...parsed.entries].map(([k, entry]) => [k, entry.value]))).toEqual({
          ...top,
          [name]: set,
        });
        expect([...(parsed.tags?.entries.keys() ?? [])]).toEqual(Object.keys(tags ?? {}));
        expect(editConfiguration(edited, name, set)).toBe(edited);
        const lines = edited.replace('\uFEFF', '').split(/\r?\n/);
        for (const line of text.replace('\uFEFF', '').split(/\r?\n/))
          if (!Object.hasOwn(top, name) || !line.startsWith(`${name}=`)) expect(lines).toContain(line);
      }),
    );
  });
});
