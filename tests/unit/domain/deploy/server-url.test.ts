import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { controlPlaneUrl } from '../../../../src/domain/deploy/server-url.js';
import { failure, value } from '../../../contract/result.js';

describe('the URL of a control plane', () => {
  it('is an https:// URL with or without port and path', () => {
    expect(value(controlPlaneUrl('https://localhost:8443'))).toEqual({
      origin: 'https://localhost:8443',
      host: 'localhost',
      port: 8443,
      basePath: '',
    });
    expect(value(controlPlaneUrl('HTTPS://CertCtl.Example.com/base/v//'))).toEqual({
      origin: 'https://certctl.example.com',
      host: 'certctl.example.com',
      port: 443,
      basePath: '/base/v',
    });
    expect(value(controlPlaneUrl('https://[::1]:8443/'))).toEqual({
      origin: 'https://[::1]:8443',
      host: '::1',
      port: 8443,
      basePath: '',
    });
  });

  it.each([
    ['', 'is empty'],
    ['  ', 'is empty'],
    ['certctl.example.com:8443', 'has no scheme'],
    ['localhost', 'has no scheme'],
    ['//localhost', 'has no scheme'],
    ['http://localhost:8443', 'write https://'],
    ['HTTP://localhost:8443', 'write https://'],
    ['ftp://localhost', 'has the scheme ftp://'],
    ['https://', 'is not a URL'],
    ['https://a b', 'is not a URL'],
    ['https://host:99999', 'is not a URL'],
    ['https://host\\@evil', 'is not a URL'],
    ['https://host/?key=1', 'query'],
    ['https://host/?', 'query'],
    ['https://host/#x', 'fragment'],
  ])('%j is refused: %s', (text, reason) => {
    expect(failure(controlPlaneUrl(text))).toContain(reason);
  });

  it('a password in it is refused, and not told', () => {
    const refused = failure(controlPlaneUrl('https://user:secret@host'));
    expect(refused).toContain('names a user');
    expect(refused).not.toContain('secret');
    expect(failure(controlPlaneUrl('http://user:secret@host'))).not.toContain('secret');
  });

  it('whatever is taken leads to https and nowhere else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.webUrl(), fc.string({ unit: 'binary' })), (text) =>
        controlPlaneUrl(text).match(
          ({ origin, port }) => origin.startsWith('https://') && port > 0 && port < 65_536,
          (reason) => !/\p{Cc}/u.test(reason),
        ),
      ),
    );
  });
});
