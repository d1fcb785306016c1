import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllowlist, withinDirectories } from '../../../../src/domain/runs/allowlist.js';

const parse = (text: string) => parseAllowlist(text, '/h/scripts.conf');

describe('parseAllowlist', () => {
  it('reads names, paths and profiles with their lines', () => {
    const { entries, warnings } = parse(
      '\uFEFF# scripts\r\nbackup = /opt/backup.sh\r\n\nA_b-9=/opt/my scripts/x y.sh\tprofile=web # c\nhash=/opt/a#b\t# c\n',
    );
    expect([...entries.values()]).toEqual([
      { name: 'backup', path: '/opt/backup.sh', profile: undefined, line: 2 },
      { name: 'A_b-9', path: '/opt/my scripts/x y.sh', profile: 'web', line: 4 },
      { name: 'hash', path: '/opt/a#b', profile: undefined, line: 5 },
    ]);
    expect(warnings).toEqual([]);
  });

  it('only a last word of its own is a profile', () => {
    const path = (text: string) => parse(`a = ${text}`).entries.get('a');
    expect(path('/opt/profile=x')).toMatchObject({ path: '/opt/profile=x', profile: undefined });
    expect(path('/opt/a profile=x b')).toMatchObject({ path: '/opt/a profile=x b', profile: undefined });
    expect(path('/opt/a profile=x profile=y')).toMatchObject({ path: '/opt/a profile=x', profile: 'y' });
    expect(path('/opt/..a/b..')).toMatchObject({ path: '/opt/..a/b..' });
  });

  it.each([
    'backup',
    'a.sh = /opt/a',
    '= /opt/a',
    'a =',
    'a = opt/a',
    'a = ~/a',
    'a = profile=x',
    'a = /opt/../etc/x',
    'a = /..',
    'a = /opt/a\0b',
    'a = /opt/a\u001b',
    'a = /opt/',
    'a = /',
    'a = /opt/a profile=',
    'a = /opt/a profile=x/y',
    '[section]',
    `a = /${'x'.repeat(4095)}`,
  ])('bad line %# is skipped with a warning, the others stay', (line) => {
    const { entries, warnings } = parse(`first = /opt/1\n${line}\nlast = /opt/2`);
    expect([...entries.keys()]).toEqual(['first', 'last']);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^\/h\/scripts\.conf:2: skipped, \P{Cc}*expected/u);
  });

  it('the first of two equal names holds', () => {
    const { entries, warnings } = parse('a = /opt/1\na = /opt/2');
    expect(entries.get('a')?.path).toBe('/opt/1');
    expect(warnings).toEqual(['/h/scripts.conf:2: skipped, "a" is already set in line 1']);
  });

  it('reads back what was written', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/);
    const path = fc
      .stringMatching(/^(\/[a-z][a-z =.-]{0,6}[a-z]){1,3}$/)
      .filter((text) => !text.includes('profile='));
    const entry = fc.record({ name, path, profile: fc.option(name, { nil: undefined }) });
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: (each) => each.name }), (list) => {
        const text = list.map(
          (each) => `${each.name} = ${each.path}${each.profile ? ` profile=${each.profile}` : ''}`,
        );
        const { entries, warnings } = parse(text.join('\n'));
        expect([...entries.values()]).toEqual(list.map((each, index) => ({ ...each, line: index + 1 })));
        expect(warnings).toEqual([]);
      }),
    );
  });

  it('never throws, and lets through only absolute paths that do not climb', () => {
    const piece = fc.constantFrom('a', '=', '/', '..', '.', ' ', '\n', '#', '\0', 'profile=', '\u202E');
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        const { entries, warnings } = parse(given);
        for (const { path } of entries.values()) {
          expect(path).toMatch(/^\/\P{Cc}*$/u);
          expect(path.split('/')).not.toContain('..');
        }
        for (const warning of warnings) expect(warning).not.toMatch(/[\p{Cc}\u202E]/u);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('withinDirectories', () => {
  it.each([
    ['/opt/a/x', ['/opt/a']],
    ['/opt/a/b/x', ['/srv', '/opt/a/']],
    ['/x', ['/']],
  ])('%s lies in one of %j', (path, directories) => expect(withinDirectories(path, directories)).toBe(true));

  it.each([
    ['/opt/ab/x', ['/opt/a']],
    ['/opt/a', ['/opt/a']],
    ['/opt/a/', ['/opt/a']],
    ['/opt/a/../b', ['/opt/a']],
    ['/opt/x', []],
    ['/opt/x', ['']],
    ['opt/x', ['opt']],
  ])('%s lies in none of %j', (path, directories) =>
    expect(withinDirectories(path, directories)).toBe(false),
  );
});
