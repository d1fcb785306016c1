import { BlockList, isIP, isIPv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contains, parsePrefixes, shortestAddress, sourceOf } from '../../../../src/domain/core/ip-prefix.js';
import { failure, value } from '../../../contract/result.js';

const within = (address: string, ...list: string[]) => contains(value(parsePrefixes(list)), address);

describe('parsePrefixes and contains', () => {
  it.each([
    ['10.1.2.3', '10.0.0.0/8'],
    ['10.255.255.255', '10.1.2.3/8'],
    ['192.0.2.7', '192.0.2.7'],
    ['192.0.2.7', '192.0.2.6/31'],
    ['192.0.2.7', '192.0.2.7/32'],
    ['8.8.8.8', '0.0.0.0/0'],
    ['::ffff:10.1.2.3', '10.0.0.0/8'],
    ['::ffff:a01:203', '10.1.2.3'],
    ['10.1.2.3', '::ffff:10.0.0.0/104'],
    ['10.1.2.3', '::ffff:0:0/96'],
    ['2001:db8::1', '2001:DB8::/33'],
    ['2001:db8::1', '2001:db8::1/128'],
    ['2001:db8::1', '::/0'],
    ['fe80::1%eth0', 'fe80::/10'],
  ])('%s lies in %s', (address, entry) => expect(within(address, entry)).toBe(true));

  it.each([
    ['11.0.0.0', '10.0.0.0/8'],
    ['192.0.2.8', '192.0.2.6/31'],
    ['192.0.2.8', '192.0.2.7/32'],
    ['2001:db8:8000::', '2001:db8::/33'],
    ['2001:db8::2', '2001:db8::1/128'],
    ['10.1.2.3', '::/0'],
    ['::10.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3', '::10.1.2.3'],
    ['::1', '0.0.0.0/0'],
    ['not an address', '0.0.0.0/0'],
    ['', '::/0'],
  ])('%s does not lie in %s', (address, entry) => expect(within(address, entry)).toBe(false));

  it('an address lies in any of several ranges, and nothing in none', () => {
    expect(within('::1', '10.0.0.0/8', '::1')).toBe(true);
    expect(within('10.0.0.1')).toBe(false);
  });

  it.each([
    '',
    'web-01',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '0x7f.0.0.1',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '::/129',
    '1::2::3',
    ':::',
    'fe80::1%eth0',
    '::ffff:010.0.0.1',
    '[::1]',
    ' 10.0.0.1',
    '10.0.0.1\n',
  ])('%j is refused by name', (entry) => {
    const error = failure(parsePrefixes(['10.0.0.1', entry]));
    expect(error.entry).toBe(entry);
    expect(error.reason).toMatch(/expected an IPv4 or IPv6|prefix length must be/);
  });

  it('agrees with an independent implementation', () => {
    const subnet = fc.oneof(
      fc.record({ ip: fc.ipV4(), length: fc.nat(32), other: fc.ipV4() }),
      fc.record({ ip: fc.ipV6(), length: fc.nat(128), other: fc.ipV6() }),
    );
    fc.assert(
      fc.property(subnet, fc.nat(3), ({ ip, length, other }, closeness) => {
        const family = isIPv4(ip) ? 'ipv4' : 'ipv6';
        // The text forms of mapped addresses are judged above.
        fc.pre(shortestAddress(ip)?.includes('.') === (family === 'ipv4'));
        const judge = new BlockList();
        judge.addSubnet(ip, length, family);
        const address = closeness === 0 ? ip : other;
        expect(within(address, `${ip}/${length}`)).toBe(judge.check(address, family));
      }),
    );
  });
});

describe('shortestAddress', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::FFFF:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::10.0.0.1', '::a00:1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['fe80:0::1%eth0', 'fe80::1%eth0'],
  ])('%s is %s', (text, shortest) => expect(shortestAddress(text)).toBe(shortest));

  it.each([
    '',
    '127.1',
    '1',
    '10.0.0.1/8',
    '10.0.0.1%eth0',
    '::ffff:10.0.0.1%e',
    'fe80::1%',
    'fe80::1%a b',
    'g::',
    '::1\n',
  ])('%j is no address', (text) => expect(shortestAddress(text)).toBeUndefined());

  it('any address has one, which is its own shortest form', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
        const shortest = shortestAddress(address) ?? '';
        expect(isIP(shortest)).not.toBe(0);
        expect(shortestAddress(shortest)).toBe(shortest);
        expect(within(address, shortest)).toBe(true);
      }),
    );
  });

  it('never throws, and takes nothing for an address that the system does not', () => {
    const piece = fc.constantFrom(
      ':',
      '::',
      '.',
      '%',
      '/',
      '0',
      '00',
      '1',
      'f',
      'ffff',
      '255',
      '256',
      '0x1',
      'g',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 18 }).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        if (shortestAddress(given) !== undefined) expect(isIP(given)).not.toBe(0);
        contains(parsePrefixes([given]).unwrapOr([]), given);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('sourceOf', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['2001:db8:0:1::5', '2001:db8:0:1::/64'],
    ['2001:DB8:0:1:ffff:ffff:ffff:ffff', '2001:db8:0:1::/64'],
    ['2001:db8:0:2::5', '2001:db8:0:2::/64'],
    ['::1', '::/64'],
    ['fe80::1%eth0', 'fe80::%eth0/64'],
    ['no address', 'no address'],
  ])('%s is counted as %s', (address, source) => expect(sourceOf(address)).toBe(source));

  it('two addresses are one source if and only if they share the first 64 bits', () => {
    const word = fc.integer({ min: 0, max: 0xffff });
    const half = fc.tuple(word, word, word, word);
    const text = (words: readonly number[]) => words.map((each) => each.toString(16)).join(':');
    // Below 0x100 in front: not ::ffff:0:0/96.
    const network = half.map(([first, ...rest]) => [first | 0x2000, ...rest]);
    fc.assert(
      fc.property(network, network, half, half, (one, other, left, right) => {
        const source = sourceOf(text([...one, ...left]));
        expect(sourceOf(text([...one, ...right]))).toBe(source);
        expect(sourceOf(text([...other, ...right])) === source).toBe(text(one) === text(other));
      }),
    );
  });
});
