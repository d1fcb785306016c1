import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { contains } from '../../../../src/domain/core/ip-prefix.js';
import { agentSettings } from '../../../../src/domain/settings/agent.js';
import { keysWithoutEffect } from '../../../../src/domain/settings/reader.js';
import { failure, value } from '../../../contract/result.js';

const base = { home: '/h', stateDir: '/h/state', file: '/h/agent.conf', fileTrust: 'strict' as const };
const read = (text: string) =>
  parseConfiguration(text, base.file).andThen((parsed) => agentSettings(parsed, base));
const settings = (text: string) => value(read(text)).settings;
const warnings = (text: string) => value(read(text)).warnings;

describe('agentSettings', () => {
  it('are the documented defaults without a file, and with an empty one', () => {
    const defaults = {
      home: '/h',
      file: '/h/agent.conf',
      stateDir: '/h/state',
      port: 7443,
      bind: '0.0.0.0',
      cert: '/h/agent.crt',
      key: '/h/agent.key',
      ca: '/h/ca.crt',
      scriptsConf: '/h/scripts.conf',
      scriptDirs: undefined,
      authHook: undefined,
      authHookTimeout: 10,
      eventLog: { kind: 'auto' },
      allowedIps: undefined,
      rateLimitVolume: { limit: 10, window: 60, block: 300 },
      rateLimitProbe: { limit: 3, window: 600, block: 3600 },
      rateLimitDisable: false,
      revokedSerials: '/h/revoked-serials',
      trustedDispatchersPath: '/h/state/ctrl-exec-dispatchers',
      maxConnections: 1024,
      maxRuns: 64,
      runTimeout: 0,
      stdinTimeout: 10,
      maxOutput: 16_777_216,
      asyncRunsDir: '/h/state/runs',
      asyncTtl: 86_400,
      acceptLegacyDispatchers: false,
      legacyConcurrency: true,
      fileTrust: 'strict',
      fileTrustConfigured: false,
      tags: {},
    };
    expect(value(agentSettings(undefined, base))).toEqual({ settings: defaults, warnings: [] });
    expect(value(read(''))).toEqual({ settings: defaults, warnings: [] });
  });

  it('every key of the table is read', () => {
    const all = {
      port: '0',
      bind: '::',
      cert: 'x.crt',
      key: '/k',
      ca: '/a',
      script_dirs: '/opt/a:/opt/b',
      auth_hook: '/hook',
      auth_hook_timeout: '2',
      event_log: 'json:/var/log/agent.json',
      allowed_ips: '10.0.0.0/8, ::1',
      rate_limit_volume: '1/2/3',
      rate_limit_probe: '4/5/6',
      rate_limit_disable: 'yes',
      revoked_serials: '/r',
      trusted_dispatchers_path: '/t',
      max_connections: '10',
      max_runs: '2',
      run_timeout: '30',
      stdin_timeout: '4',
      max_output: '1024',
      async_runs_dir: '/runs',
      async_ttl: '60',
      accept_legacy_dispatchers: '1',
      legacy_concurrency: 'off',
      file_trust: 'warn',
      state_dir: '/s',
    };
    const text = `${Object.entries(all)
      .map((pair) => pair.join(' = '))
      .join('\n')}\n[tags]\nenv = prod\nempty =`;
    const { allowedIps, ...rest } = settings(text);
    expect(rest).toEqual({
      home: '/h',
      file: '/h/agent.conf',
      stateDir: '/s',
      port: 0,
      bind: '::',
      cert: '/h/x.crt',
      key: '/k',
      ca: '/a',
      scriptsConf: '/h/scripts.conf',
      scriptDirs: ['/opt/a', '/opt/b'],
      authHook: '/hook',
      authHookTimeout: 2,
      eventLog: { kind: 'json', file: '/var/log/agent.json' },
      rateLimitVolume: { limit: 1, window: 2, block: 3 },
      rateLimitProbe: { limit: 4, window: 5, block: 6 },
      rateLimitDisable: true,
      revokedSerials: '/r',
      trustedDispatchersPath: '/t',
      maxConnections: 10,
      maxRuns: 2,
      runTimeout: 30,
      stdinTimeout: 4,
      maxOutput: 1024,
      asyncRunsDir: '/runs',
      asyncTtl: 60,
      acceptLegacyDispatchers: true,
      legacyConcurrency: false,
      fileTrust: 'warn',
      fileTrustConfigured: true,
      tags: { env: 'prod', empty: '' },
    });
    expect(contains(allowedIps ?? [], '::ffff:10.9.9.9')).toBe(true);
    expect(contains(allowedIps ?? [], '11.0.0.1')).toBe(false);
    const silent = Object.keys(all).filter(
      (key) => !warnings(text).some((warning) => warning.includes(`: ${key} `)),
    );
    expect(silent).toEqual(Object.keys(all).filter((key) => !keysWithoutEffect.has(key)));
    expect(warnings(text).join('\n')).not.toMatch(/unknown key/);
  });

  it('what lies in the state follows state_dir', () => {
    expect(settings('state_dir = /s')).toMatchObject({
      trustedDispatchersPath: '/s/ctrl-exec-dispatchers',
      asyncRunsDir: '/s/runs',
    });
  });

  it.each([
    ['allowed_ips =', /allowed_ips is empty, expected a list separated by commas/],
    [
      'allowed_ips = 10.0.0.0/33',
      /"10\.0\.0\.0\/33" is none: the prefix length must be a number from 0 to 32$/,
    ],
    ['allowed_ips = 10.0.0.1, web-01', /"web-01" is none: expected an IPv4 or IPv6 address/],
    ['script_dirs =', /script_dirs is empty, expected absolute paths of directories/],
    ['script_dirs = /opt:scripts', /script_dirs is "\/opt:scripts", expected absolute paths/],
    ['port = 70000', /port is "70000", expected a port/],
    ['rate_limit_volume = 10/60', /expected limit\/window\/block/],
    ['max_connections = 1', /expected a whole number of connections from 2 to 65536/],
    ['run_timeout = 1h', /expected a whole number of seconds from 0/],
  ])('%j is refused, and opens nothing', (text, message) => {
    const error = failure(read(text));
    expect(error).toMatchObject({ code: 'config_invalid', file: base.file, line: 1 });
    expect(error.message).toMatch(message);
  });

  it('a setting below [tags] is called out', () => {
    expect(warnings('[tags]\nallowed_ips = 10.0.0.1')).toEqual([
      '/h/agent.conf:2: allowed_ips stands in [tags] and is a tag; as a setting it belongs above it',
    ]);
  });

  it('tags may be named like what every object has', () => {
    expect(Object.entries(settings('[tags]\nconstructor = x\ntoString = y').tags)).toEqual([
      ['constructor', 'x'],
      ['toString', 'y'],
    ]);
  });

  it('unknown keys of older installations are warnings only', () => {
    expect(warnings('log_facility = daemon')).toEqual([
      '/h/agent.conf:1: unknown key "log_facility" is ignored',
    ]);
  });

  it('never throws, whatever the keys are set to', () => {
    const keys = fc.constantFrom(
      'allowed_ips',
      'script_dirs',
      'bind',
      'port',
      'auth_hook',
      'max_output',
      'nonsense',
    );
    fc.assert(
      fc.property(fc.dictionary(keys, fc.string()), (all) => {
        const text = Object.entries(all)
          .map((pair) => pair.join('='))
          .join('\n');
        read(text).mapErr(({ message }) => expect(message).toMatch(/^\/h\/agent\.conf:\d+: \P{Cc}+$/u));
      }),
    );
  });
});
