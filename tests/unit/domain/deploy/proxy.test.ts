import { describe, expect, it } from 'vitest';
import { proxyFor } from '../../../../src/domain/deploy/proxy.js';
import { failure, value } from '../../../contract/result.js';

const place = (host: string, environment: Record<string, string>, port = 8443) =>
  value(proxyFor({ host, port }, environment))?.place;
const HTTPS_PROXY = 'http://proxy.test:3128';

describe('the proxy of the environment', () => {
  it('is that of HTTPS_PROXY, in either case, with and without a scheme', () => {
    for (const environment of [
      { HTTPS_PROXY },
      { https_proxy: HTTPS_PROXY },
      { HTTPS_PROXY: 'proxy.test:3128' },
    ])
      expect(place('plane.test', environment)).toBe('proxy.test:3128');
    expect(place('plane.test', { HTTPS_PROXY: 'https://u:p@[2001:db8::1]' })).toBe('[2001:db8::1]:443');
    expect(place('plane.test', {})).toBeUndefined();
    expect(place('plane.test', { HTTP_PROXY: HTTPS_PROXY })).toBeUndefined();
  });

  it.each([
    ['plane.test', 'plane.test'],
    ['Plane.Test.', 'PLANE.test'],
    ['a.plane.test', 'x, plane.test'],
    ['a.plane.test', '.plane.test'],
    ['a.plane.test', '*.plane.test'],
    ['plane.test', 'plane.test:8443'],
    ['192.0.2.1', '192.0.2.0/24'],
    ['192.0.2.1', '192.0.2.1:8443'],
    ['2001:db8::1', '2001:db8::/32'],
    ['2001:db8::1', '[2001:db8::1]:8443'],
    ['anything.test', '*'],
  ])('is not for %s where NO_PROXY is %s', (host, NO_PROXY) => {
    expect(place(host, { HTTPS_PROXY, NO_PROXY })).toBeUndefined();
    expect(place(host, { HTTPS_PROXY, no_proxy: NO_PROXY })).toBeUndefined();
  });

  it.each([
    ['plane.test', '.plane.test'],
    ['explane.test', 'plane.test'],
    ['plane.test', 'plane.test:443'],
    ['192.0.2.1', '192.0.3.0/24'],
    ['plane.test', ''],
  ])('is for %s where NO_PROXY is %j', (host, NO_PROXY) => {
    expect(place(host, { HTTPS_PROXY, NO_PROXY })).toBe('proxy.test:3128');
  });

  it('is never for this host', () => {
    for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '::1'])
      expect(place(host, { HTTPS_PROXY })).toBeUndefined();
  });

  it('that is no URL is an error without its password', () => {
    for (const text of ['socks5://u:secret@p:1', 'http://u:secret@', 'http://u:secret@p:x', '://secret'])
      expect(failure(proxyFor({ host: 'plane.test', port: 1 }, { HTTPS_PROXY: text }))).not.toContain(
        'secret',
      );
  });
});
