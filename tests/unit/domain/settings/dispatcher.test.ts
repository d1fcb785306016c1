import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { dispatcherSettings } from '../../../../src/domain/settings/dispatcher.js';
import { keysWithoutEffect } from '../../../../src/domain/settings/reader.js';
import { failure, value } from '../../../contract/result.js';

const base = {
  home: '/h',
  stateDir: '/h/state',
  file: '/h/ctrl-exec.conf',
  hostName: 'ctl.example.com',
  fileTrust: 'strict' as const,
};
const read = (text: string) =>
  parseConfiguration(text, base.file).andThen((parsed) => dispatcherSettings(parsed, base));
const settings = (text: string) => value(read(text)).settings;
const warnings = (text: string) => value(read(text)).warnings;

describe('dispatcherSettings', () => {
  it('are the documented defaults without a file, and with an empty one', () => {
    const defaults = {
      home: '/h',
      file: '/h/ctrl-exec.conf',
      stateDir: '/h/state',
      cert: '/h/ctrl-exec.crt',
      key: '/h/ctrl-exec.key',
      ca: '/h/ca.crt',
      caKey: '/h/ca.key',
      pairingCert: '/h/pairing.crt',
      pairingKey: '/h/pairing.key',
      dispatcherId: 'ctl.example.com',
      dispatcherIdConfigured: false,
      connectTimeout: 10,
      readTimeout: 60,
      maxParallel: 64,
      maxAnswer: 8_388_608,
      runTtl: 86_400,
      apiPort: 7445,
      apiPortConfigured: false,
      apiBind: '127.0.0.1',
      apiCert: undefined,
      apiKey: undefined,
      apiPlainHttp: false,
      apiSocket: undefined,
      apiAuthDefault: 'deny',
      apiMaxConcurrent: 64,
      apiRateLimit: { limit: 600, window: 60, block: 60 },
      authHook: undefined,
      authHookTimeout: 10,
      authDenyGeneric: false,
      eventLog: { kind: 'auto' },
      certDays: 365,
      certRenewalDays: 90,
      certOverlapDays: 30,
      certCheckInterval: 14400,
      keyType: 'p256',
      pairingPort: 7444,
      pairingBind: '0.0.0.0',
      pairingMaxQueue: 10,
      pairingRateLimitVolume: { limit: 10, window: 60, block: 300 },
      allowLegacyPairing: false,
      allowLegacyAgents: [],
      fileTrust: 'strict',
      fileTrustConfigured: false,
    };
    expect(value(dispatcherSettings(undefined, base))).toEqual({ settings: defaults, warnings: [] });
    expect(value(read(''))).toEqual({ settings: defaults, warnings: [] });
  });

  it('every key of the table is read', () => {
    const all = {
      cert: '/c/a',
      key: '/c/b',
      ca: 'other.crt',
      state_dir: '/s',
      dispatcher_id: 'Ctl',
      connect_timeout: '4',
      read_timeout: '5',
      max_parallel: '8',
      max_answer: '65536',
      run_ttl: '60',
      api_port: '1',
      api_bind: '::',
      api_cert: '/a',
      api_key: '/b',
      api_plain_http: 'yes',
      api_socket: '/run/s',
      api_auth_default: 'allow',
      auth_hook: '/hook',
      auth_hook_timeout: '3',
      auth_deny_generic: 'on',
      event_log: 'none',
      api_max_concurrent: '9',
      api_rate_limit: '4/5/6',
      cert_days: '30',
      cert_renewal_days: '10',
      cert_overlap_days: '2',
      cert_check_interval: '60',
      key_type: 'ed25519',
      pairing_port: '2',
      pairing_bind: '::1',
      pairing_max_queue: '3',
      pairing_rate_limit_volume: '1/2/3',
      allow_legacy_pairing: 'yes',
      allow_legacy_agents: 'Web-01,db',
      file_trust: 'warn',
    };
    const text = Object.entries(all)
      .map((pair) => pair.join(' = '))
      .join('\n');
    expect(settings(text)).toEqual({
      home: '/h',
      file: '/h/ctrl-exec.conf',
      stateDir: '/s',
      cert: '/c/a',
      key: '/c/b',
      ca: '/h/other.crt',
      caKey: '/h/ca.key',
      pairingCert: '/h/pairing.crt',
      pairingKey: '/h/pairing.key',
      dispatcherId: 'Ctl',
      dispatcherIdConfigured: true,
      connectTimeout: 4,
      readTimeout: 5,
      maxParallel: 8,
      maxAnswer: 65_536,
      runTtl: 60,
      apiPort: 1,
      apiPortConfigured: true,
      apiBind: '::',
      apiCert: '/a',
      apiKey: '/b',
      apiPlainHttp: true,
      apiSocket: '/run/s',
      apiAuthDefault: 'allow',
      apiMaxConcurrent: 9,
      apiRateLimit: { limit: 4, window: 5, block: 6 },
      authHook: '/hook',
      authHookTimeout: 3,
      authDenyGeneric: true,
      eventLog: { kind: 'none' },
      certDays: 30,
      certRenewalDays: 10,
      certOverlapDays: 2,
      certCheckInterval: 60,
      keyType: 'ed25519',
      pairingPort: 2,
      pairingBind: '::1',
      pairingMaxQueue: 3,
      pairingRateLimitVolume: { limit: 1, window: 2, block: 3 },
      allowLegacyPairing: true,
      allowLegacyAgents: ['web-01', 'db'],
      fileTrust: 'warn',
      fileTrustConfigured: true,
    });
    const silent = Object.keys(all).filter(
      (key) => !warnings(text).some((warning) => warning.includes(`: ${key} `)),
    );
    expect(silent).toEqual(Object.keys(all).filter((key) => !keysWithoutEffect.has(key)));
    expect(warnings(text).join('\n')).not.toMatch(/unknown key/);
  });

  it('a key that nothing acts on yet is not accepted in silence', () => {
    expect(warnings('pairing_rate_limit_disable = yes')).toEqual([
      '/h/ctrl-exec.conf:1: pairing_rate_limit_disable is read but has no effect in this version',
    ]);
  });

  it('the old name of read_timeout works', () => {
    expect(settings('timeout = 7').readTimeout).toBe(7);
    expect(warnings('timeout = 7')).toEqual([]);
    expect(failure(read('timeout = x')).message).toMatch(/^\/h\/ctrl-exec\.conf:1: timeout is "x", expected/);
  });

  it('a host name that cannot be an id is made into one', () => {
    const odd = value(dispatcherSettings(undefined, { ...base, hostName: '-ctl 1' })).settings;
    expect(odd).toMatchObject({ dispatcherId: 'ctl-1', dispatcherIdConfigured: false });
  });

  it.each([
    [
      'cert = certs/a.crt',
      1,
      'cert is "certs/a.crt", expected an absolute path, or the name of a file in /h',
    ],
    [
      '\nkey_type = rsa1024',
      2,
      'key_type is "rsa1024", expected one of p256, p384, ed25519, rsa2048, rsa4096',
    ],
    [
      'dispatcher_id = a b',
      1,
      'dispatcher_id is "a b", expected at most 64 letters, digits, ".", "_" or "-", beginning with a letter or digit',
    ],
    [
      'dispatcher_id = legacy',
      1,
      'dispatcher_id is "legacy", expected another id than "legacy", which stands for dispatchers that have none',
    ],
    [
      'dispatcher_id =',
      1,
      'dispatcher_id is empty, expected at most 64 letters, digits, ".", "_" or "-", beginning with a letter or digit',
    ],
    ['read_timeout = 0', 1, 'read_timeout is "0", expected a whole number of seconds from 1 to 604800'],
    ['api_auth_default = maybe', 1, 'api_auth_default is "maybe", expected one of allow, deny'],
    [
      'allow_legacy_agents = web-*',
      1,
      'allow_legacy_agents is "web-*", expected names of agents separated by commas, or *',
    ],
    ['api_cert = /a', 1, 'api_cert is set without api_key, expected both or neither'],
    ['api_key = /a', 1, 'api_key is set without api_cert, expected both or neither'],
  ])('%j is refused', (text, line, reason) => {
    expect(failure(read(text))).toMatchObject({
      line,
      reason,
      message: `${base.file}:${line}: ${reason}`,
    });
  });

  it('sections of an agent mean nothing here', () => {
    expect(warnings('[tags]\nenv = prod')).toEqual([
      '/h/ctrl-exec.conf:1: section [tags] has no effect here',
    ]);
  });

  it('never throws, whatever the keys are set to', () => {
    const keys = fc.constantFrom(
      'cert',
      'dispatcher_id',
      'timeout',
      'api_bind',
      'auth_hook',
      'key_type',
      'nonsense',
    );
    fc.assert(
      fc.property(fc.dictionary(keys, fc.string()), (all) => {
        const text = Object.entries(all)
          .map((pair) => pair.join('='))
          .join('\n');
        read(text).mapErr(({ message }) => expect(message).toMatch(/^\/h\/ctrl-exec\.conf:\d+: \P{Cc}+$/u));
      }),
    );
  });
});
