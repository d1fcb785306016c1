import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHostArgument } from '../../../../src/domain/core/host-argument.js';
import { failure, value } from '../../../contract/result.js';

const read = (text: string) => value(parseHostArgument(text));

describe('parseHostArgument', () => {
  it.each([
    ['web-01', 'web-01', undefined, false],
    ['Web-01.example.com', 'Web-01.example.com', undefined, false],
    ['web-01:8443', 'web-01', 8443, false],
    ['10.0.0.1:1', '10.0.0.1', 1, false],
    ['[::1]:65535', '::1', 65535, true],
    ['[fe80::1%eth0]', 'fe80::1%eth0', undefined, true],
    ['2001:db8::7443', '2001:db8::7443', undefined, true],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1', undefined, true],
    ['host_1', 'host_1', undefined, false],
  ])('%s is host %s, port %s', (text, host, port, ipv6) =>
    expect(read(text)).toEqual({ text, host, port, ipv6 }),
  );

  it.each([
    ['', /empty/],
    ['-oProxy=x', /begins with "-"/],
    ['a'.repeat(256), /longer than 255/],
    ['web 01', /expected a name/],
    ['web-01\n', /expected a name/],
    ['\u001b[2J', /expected a name/],
    ['user@web-01', /expected a name/],
    ['web-01/path', /expected a name/],
    ['a,b', /expected a name/],
    ['1.2.3.400', /expected a name/],
    ['127.1', /expected a name/],
    [':80', /expected a name/],
    ['web-01:', /port must be a number from 1 to 65535/],
    ['web-01:0', /port must be/],
    ['web-01:65536', /port must be/],
    ['web-01:080', /port must be/],
    ['web-01:+80', /port must be/],
    ['web-01:80\n', /port must be/],
    ['[::1]:', /port must be/],
    ['[web-01]:80', /must be an IPv6 address/],
    ['[::1', /not an IPv6 address/],
    ['1:2:3', /not an IPv6 address/],
    ['::1:99999', /not an IPv6 address/],
    ['[::1]80', /not an IPv6 address/],
  ])('%j is refused', (text, reason) => {
    const error = failure(parseHostArgument(text));
    expect(error).toMatchObject({ code: 'invalid_argument', field: 'host' });
    expect(error.message).toMatch(reason);
    expect(error.message).not.toMatch(/\p{Cc}/u);
  });

  it('reads back what was written with brackets and port', () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.integer({ min: 1, max: 65535 }), (host, port) => {
        expect(read(`[${host}]:${port}`)).toMatchObject({ host, port, ipv6: true });
        expect(read(host)).toMatchObject({ host, port: undefined, ipv6: true });
      }),
    );
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4()), fc.integer({ min: 1, max: 65535 }), (host, port) => {
        fc.pre(host.length < 249);
        expect(read(`${host}:${port}`)).toMatchObject({ host, port, ipv6: false });
      }),
    );
  });

  it('never throws, and lets through only a host that is safe in a URL', () => {
    const piece = fc.constantFrom(':', '[', ']', '%', '.', '-', '1', 'ffff', 'a', ' ', '\0', '@', '65536');
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        parseHostArgument(given).map(({ host, ipv6 }) => {
          if (ipv6) expect(isIP(host)).toBe(6);
          else expect(host).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/);
        });
      }),
      { numRuns: 2000 },
    );
  });
});
