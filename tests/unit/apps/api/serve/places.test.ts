import { describe, expect, it } from 'vitest';
import {
  addressText,
  exposure,
  type ListenOptions,
  listenPlaces,
} from '../../../../../src/apps/api/serve/places.js';
import { parseConfiguration } from '../../../../../src/domain/core/configuration.js';
import { dispatcherSettings } from '../../../../../src/domain/settings/dispatcher.js';
import { failure, value } from '../../../../contract/result.js';

const base = {
  home: '/h',
  stateDir: '/h/state',
  file: '/h/ctrl-exec.conf',
  hostName: 'control',
  fileTrust: 'strict' as const,
};
const places = async (conf: string, options: ListenOptions = {}) => {
  const { settings } = value(
    parseConfiguration(conf, base.file).andThen((parsed) => dispatcherSettings(parsed, base)),
  );
  return listenPlaces(settings, options);
};
const tls = 'api_cert = /c\napi_key = /k\n';
const tcp = (bind: string, port: number) => ({ kind: 'tcp', bind, port });
const socket = { kind: 'socket', path: '/run/api.sock' };

describe('where the API listens', () => {
  it.each<[string, ListenOptions, object[]]>([
    ['', {}, [tcp('127.0.0.1', 7445)]],
    ['api_port = 1\napi_bind = ::1', {}, [tcp('::1', 1)]],
    ['api_port = 1\napi_bind = ::1', { port: 0, bind: '127.0.0.9' }, [tcp('127.0.0.9', 0)]],
    ['', { bind: '[::1]' }, [tcp('::1', 7445)]],
    ['', { bind: '::ffff:127.0.0.1' }, [tcp('127.0.0.1', 7445)]],
    [`${tls}api_bind = 0.0.0.0`, {}, [tcp('0.0.0.0', 7445)]],
    [tls, { bind: '192.0.2.1' }, [tcp('192.0.2.1', 7445)]],
    ['api_plain_http = yes\napi_bind = 0.0.0.0', {}, [tcp('0.0.0.0', 7445)]],
    ['api_socket = /run/api.sock', {}, [socket]],
    ['api_socket = /run/api.sock\napi_bind = 0.0.0.0', {}, [socket]],
    ['api_socket = /run/api.sock\napi_port = 1', {}, [socket, tcp('127.0.0.1', 1)]],
    ['api_socket = /run/api.sock', { port: 0 }, [socket, tcp('127.0.0.1', 0)]],
    ['api_socket = /run/api.sock', { bind: '::1' }, [socket, tcp('::1', 7445)]],
  ])('%j with %j: %j', async (conf, options, expected) => {
    expect(value(await places(conf, options))).toEqual(expected);
  });

  it('localhost is what it resolves to', async () => {
    const [place] = value(await places('api_bind = localhost'));
    expect(place).toMatchObject({ bind: expect.stringMatching(/^(127\.0\.0\.1|::1)$/) });
  });

  it.each<[string, ListenOptions]>([
    ['api_bind = 0.0.0.0', {}],
    ['api_bind = ::', {}],
    ['api_bind = 10.0.0.1', {}],
    ['', { bind: '128.0.0.1' }],
    ['api_socket = /run/api.sock\napi_port = 1\napi_bind = ::', {}],
  ])('%j with %j is refused: other hosts reach it without TLS', async (conf, options) => {
    const error = failure(await places(conf, options));
    expect(error).toMatchObject({ code: 'config_invalid', file: '/h/ctrl-exec.conf' });
    expect(error.message).toContain('without TLS');
  });
});

describe('what is said about who reaches the API', () => {
  const said = async (conf: string) => {
    const { settings } = value(
      parseConfiguration(conf, base.file).andThen((parsed) => dispatcherSettings(parsed, base)),
    );
    return exposure(settings, value(await places(conf)));
  };
  const denied = /no auth_hook is set and api_auth_default is deny, so every request is refused \(403\)/;
  const plain = /api_plain_http: other hosts reach the API at 0\.0\.0\.0 without TLS/;
  const open = /api_auth_default is allow without an auth_hook, so every host that reaches 0\.0\.0\.0/;

  it.each<[string, RegExp[]]>([
    ['auth_hook = /h/hook', []],
    ['', [denied]],
    ['api_auth_default = allow', []],
    ['api_plain_http = yes', [denied]],
    ['auth_hook = /h/hook\napi_plain_http = yes\napi_bind = 0.0.0.0', [plain]],
    [`auth_hook = /h/hook\n${tls}api_plain_http = yes\napi_bind = 0.0.0.0`, []],
    [`${tls}api_bind = 0.0.0.0\napi_auth_default = allow`, [open]],
    ['api_plain_http = yes\napi_bind = 0.0.0.0\napi_auth_default = allow', [plain, open]],
  ])('%j: %o', async (conf, expected) => {
    const lines = await said(conf);
    expect(lines).toEqual(expected.map((line) => expect.stringMatching(line)));
  });
});

it('a place is written as a URL', () => {
  expect(addressText({ kind: 'tcp', bind: '::1', port: 0 }, false, 5)).toBe('http://[::1]:5');
  expect(addressText({ kind: 'tcp', bind: '127.0.0.1', port: 5 }, true, 5)).toBe('https://127.0.0.1:5');
  expect(addressText({ kind: 'tcp', bind: '127.0.0.1', port: 6 }, true)).toBe('https://127.0.0.1:6');
  expect(addressText({ kind: 'socket', path: '/run/x' }, true, 0)).toBe('unix:/run/x');
});
