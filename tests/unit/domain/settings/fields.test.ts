import fc from 'fast-check';
import type { Result } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import * as fields from '../../../../src/domain/settings/fields.js';
import { failure, value } from '../../../contract/result.js';

const settingOf = <T>(result: Result<T, string>) => value(result);
const expected = (result: Result<unknown, string>) => failure(result);

describe('fields of a configuration', () => {
  it('a number is whole, decimal and within its range', () => {
    const field = fields.integer({ min: 1, max: 365, unit: 'days' });
    expect(settingOf(field('365'))).toBe(365);
    for (const text of ['', '0', '366', '-1', '+1', '1.5', '1e2', '0x10', ' 1', '1 d', '9'.repeat(400)])
      expect(expected(field(text))).toBe('a whole number of days from 1 to 365');
    expect(expected(fields.integer({ min: 0, max: 9 })('x'))).toBe('a whole number from 0 to 9');
  });

  it('every number within the range is read, and none outside', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.integer({ min: 0, max: 10 ** 14 }), (a, b, number) => {
        const [min, max] = [Math.min(a, b), Math.max(a, b)];
        const inRange = number >= min && number <= max;
        expect(fields.integer({ min, max })(String(number)).unwrapOr(undefined)).toBe(
          inRange ? number : undefined,
        );
      }),
    );
  });

  it('seconds fit a timer', () => {
    expect(settingOf(fields.seconds(0)('0'))).toBe(0);
    expect(fields.seconds(1)('0').isErr()).toBe(true);
    expect(
      fields
        .seconds(1)(String(fields.longestTimeout + 1))
        .isErr(),
    ).toBe(true);
    expect(fields.longestTimeout * 1000).toBeLessThan(2 ** 31);
  });

  it('a port is up to 65535, 0 lets the system choose', () => {
    expect(settingOf(fields.port('65535'))).toBe(65535);
    expect(settingOf(fields.port('0'))).toBe(0);
    for (const text of ['', '65536', '-1', 'https', '7443,7444'])
      expect(expected(fields.port(text))).toMatch(/^a port from 1 to 65535/);
  });

  it('on and off have four words each, in either case', () => {
    for (const text of ['1', 'yes', 'true', 'on', 'ON', 'Yes'])
      expect(settingOf(fields.boolean(text))).toBe(true);
    for (const text of ['0', 'no', 'false', 'off', 'Off'])
      expect(settingOf(fields.boolean(text))).toBe(false);
    for (const text of ['', '2', 'enabled', 'y'])
      expect(expected(fields.boolean(text))).toMatch(/^1, yes, true or on/);
  });

  it('one of a few words', () => {
    const field = fields.oneOf(['allow', 'deny']);
    expect(settingOf(field('Deny'))).toBe('deny');
    expect(expected(field('perhaps'))).toBe('one of allow, deny');
    expect(field('').isErr()).toBe(true);
  });

  it('a path is absolute, or a plain name in the home', () => {
    const field = fields.path('/home/x');
    expect(settingOf(field('/etc/a b'))).toBe('/etc/a b');
    expect(settingOf(field('a.crt'))).toBe('/home/x/a.crt');
    expect(settingOf(fields.path('/')('a.crt'))).toBe('/a.crt');
    for (const text of ['', '.', '..', './a', '../a', 'a/b'])
      expect(expected(field(text))).toBe('an absolute path, or the name of a file in /home/x');
  });

  it('nothing at all is undefined where a key is optional', () => {
    expect(settingOf(fields.optional(fields.port)(''))).toBeUndefined();
    expect(settingOf(fields.optional(fields.port)('1'))).toBe(1);
    expect(fields.optional(fields.port)('x').isErr()).toBe(true);
  });

  it('lists have no holes, and are not empty', () => {
    expect(settingOf(fields.commaList('a , b'))).toEqual(['a', 'b']);
    for (const text of ['', 'a,', ',a', 'a,,b']) expect(fields.commaList(text).isErr()).toBe(true);
    expect(settingOf(fields.directories('/a:/b c:'))).toEqual(['/a', '/b c']);
    for (const text of ['', ':', 'a', '/a:b', '~/x']) expect(fields.directories(text).isErr()).toBe(true);
  });

  it('a rate limit is three numbers above zero', () => {
    expect(settingOf(fields.rateLimit('10/60/300'))).toEqual({ limit: 10, window: 60, block: 300 });
    for (const text of [
      '',
      '10',
      '10/60',
      '10/60/300/1',
      '0/60/300',
      '10/0/300',
      'a/b/c',
      '10/60/1000001',
      '10//3',
    ])
      expect(expected(fields.rateLimit(text))).toMatch(/10\/60\/300/);
  });

  it('what is listened on is an address in its shortest form, or a host name', () => {
    expect(settingOf(fields.bindAddress('0.0.0.0'))).toBe('0.0.0.0');
    expect(settingOf(fields.bindAddress('[0::1]'))).toBe('::1');
    expect(settingOf(fields.bindAddress('localhost'))).toBe('localhost');
    for (const text of ['', '*', '127.0.0.1:80', '256.1.1.1', '7443', 'a b', '[localhost]'])
      expect(expected(fields.bindAddress(text))).toMatch(/^an IP address/);
  });

  it('agents are named in lower case, or all of them by a star', () => {
    expect(settingOf(fields.agentNames('Web-01, db'))).toEqual(['web-01', 'db']);
    expect(settingOf(fields.agentNames('*'))).toBe('*');
    expect(settingOf(fields.agentNames(''))).toEqual([]);
    for (const text of ['web-*', 'a,*', 'a,', '-a']) expect(fields.agentNames(text).isErr()).toBe(true);
  });

  it('no field throws, whatever it is given', () => {
    const all = [
      ...[
        fields.port,
        fields.boolean,
        fields.commaList,
        fields.directories,
        fields.rateLimit,
        fields.bindAddress,
      ],
      ...[fields.agentNames, fields.path('/h'), fields.seconds(1), fields.oneOf(['a'])],
    ];
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const field of all) field(text).mapErr((wanted) => expect(wanted).not.toBe(''));
      }),
    );
  });
});
