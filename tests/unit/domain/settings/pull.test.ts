import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { isPathSegment } from '../../../../src/domain/core/names.js';
import { strictPolicy } from '../../../../src/domain/deploy/policy.js';
import {
  isLogged,
  looseBoolean,
  type PullEnvironment,
  type PullOptions,
  pullSettings,
} from '../../../../src/domain/settings/pull.js';
import { failure, value } from '../../../contract/result.js';

const needed = { CERTCTL_API_KEY: 'key-1', CERTCTL_AGENT_ID: 'agent-1' };

function read(options: PullOptions, environment: PullEnvironment, conf = '') {
  const parsed = value(parseConfiguration(conf, 'agent.conf'));
  return pullSettings(options, environment, { file: 'agent.conf', fileTrust: 'strict', parsed });
}
const settings = (options: PullOptions, environment: PullEnvironment = needed, conf = '') =>
  value(read(options, environment, conf)).settings;
const refusal = (options: PullOptions, environment: PullEnvironment = needed, conf = '') =>
  failure(read(options, environment, conf)).message;

describe('the settings of a pull agent', () => {
  it('have the defaults of the Go agent', () => {
    expect(settings({})).toEqual({
      server: { origin: 'https://localhost:8443', host: 'localhost', port: 8443, basePath: '' },
      apiKey: 'key-1',
      agentId: 'agent-1',
      name: 'certctl-agent',
      keyDir: '/var/lib/certctl/keys',
      discoveryDirs: [],
      caBundle: undefined,
      insecureSkipVerify: false,
      policy: strictPolicy('agent.conf'),
      logLevel: 'info',
    });
  });

  it('an option goes before the environment, that before the file, that before the default', () => {
    const conf = '[pull]\nname = file\nkey_dir = /file\nserver = https://file\nca_bundle = /ca\n';
    const environment = { ...needed, CERTCTL_AGENT_NAME: 'environment', CERTCTL_SERVER_URL: 'https://env' };
    const { name, server, keyDir, caBundle } = settings({ server: 'https://option' }, environment, conf);
    expect([server.host, name, keyDir, caBundle]).toEqual(['option', 'environment', '/file', '/ca']);
  });

  it('everything can stand in the file alone', () => {
    const conf =
      '[pull]\nserver = https://c:1\napi_key = k\nagent_id = a\nname = n\nkey_dir = /k\n' +
      'discovery_dirs = /a, /b ,,\nca_bundle = /c\ninsecure_skip_verify = yes\nlog_level = debug\n';
    expect(settings({}, {}, conf)).toMatchObject({
      server: { origin: 'https://c:1' },
      apiKey: 'k',
      agentId: 'a',
      name: 'n',
      keyDir: '/k',
      discoveryDirs: ['/a', '/b'],
      caBundle: '/c',
      insecureSkipVerify: true,
      logLevel: 'debug',
    });
  });

  it('an empty variable is as good as none, an empty server that somebody gave is refused', () => {
    expect(settings({}, { ...needed, CERTCTL_SERVER_URL: '', CERTCTL_KEY_DIR: '' }).keyDir).toBe(
      '/var/lib/certctl/keys',
    );
    expect(refusal({ server: '' })).toMatch(/^--server is empty, expected an https:\/\/ URL/);
  });

  it('without a key or an id it says how to give them', () => {
    expect(refusal({}, { CERTCTL_AGENT_ID: 'a' })).toContain('CERTCTL_API_KEY');
    expect(refusal({}, { CERTCTL_API_KEY: 'a' })).toContain(
      'Register an agent first via POST /api/v1/agents',
    );
    expect(refusal({ agentId: '' })).toContain('agent id is required');
  });

  it('a refusal names where the value stands', () => {
    expect(refusal({}, { ...needed, CERTCTL_SERVER_URL: 'http://x' })).toMatch(/^CERTCTL_SERVER_URL "http:/);
    expect(refusal({}, needed, '\n[pull]\nserver = localhost\n')).toMatch(
      /^agent.conf:3: server "localhost"/,
    );
    expect(refusal({ agentId: '../x y' })).toMatch(/^--agent-id is/);
    expect(refusal({}, needed, '[pull]\ninsecure_skip_verify = maybe\n')).toMatch(/^agent.conf:2: insecure/);
  });

  it('a key that cannot stand in a header is refused, and not told', () => {
    for (const key of ['my secret', 'my-secret\r\nX: y', 'my-secret-ü'])
      for (const message of [refusal({ apiKey: key }), refusal({}, { ...needed, CERTCTL_API_KEY: key })])
        expect([message.includes('is not an API key'), message.includes('secret')]).toEqual([true, false]);
  });

  it('an unknown key in the section is a warning with the closest one', () => {
    const { warnings } = value(read({}, needed, '[pull]\nkeydir = /x\nport = 1\n'));
    expect(warnings).toEqual([
      'agent.conf:2: unknown key "keydir" in [pull] is ignored, did you mean "key_dir"?',
      'agent.conf:3: unknown key "port" in [pull] is ignored',
    ]);
  });

  it('verification is off only by a word that says so', () => {
    const variable = (value: string) =>
      settings({}, { ...needed, CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY: value }).insecureSkipVerify;
    expect(['1', 't', 'T', 'TRUE', ' yes ', 'On'].map(variable)).toEqual(Array(6).fill(true));
    expect(['0', 'f', 'FALSE', 'no', 'off', '', 'maybe', '2'].map(variable)).toEqual(Array(8).fill(false));
    fc.assert(
      fc.property(fc.string(), (text) => {
        const word = looseBoolean(text);
        return word === undefined || /^\s*([1t0f]|true|yes|on|false|no|off)\s*$/i.test(text);
      }),
    );
  });

  it('the level of the log is info unless it is known', () => {
    const level = (value: string) => settings({}, { ...needed, CERTCTL_LOG_LEVEL: value }).logLevel;
    expect(['debug', 'DEBUG', 'info', 'warn', 'warning', 'error', 'loud'].map(level)).toEqual([
      'debug',
      'debug',
      'info',
      'warning',
      'warning',
      'error',
      'info',
    ]);
    expect(isLogged('info', 'debug')).toBe(false);
    expect(isLogged('warning', 'info')).toBe(false);
    expect(isLogged('warning', 'error')).toBe(true);
  });

  it('an id that stands in a path leads nowhere else', () => {
    for (const id of ['..', '.', '', 'a b', 'a\nb', 'x'.repeat(129)]) expect(isPathSegment(id)).toBe(false);
    for (const id of ['agent-1', 'a/b', 'a?b', 'ag%2e']) expect(isPathSegment(id)).toBe(true);
  });
});

describe('what the control plane may do', () => {
  const policy = (lines: string) => settings({}, needed, `[pull]\n${lines}\n`).policy;

  it('is what the section says, each list added to the defaults', () => {
    const lines = [
      'commands = /opt/reload now, nginx -t',
      'paths = /srv/tls/, //opt//tls',
      'owners = www-data, 33',
      'max_file_mode = 0664',
      'verify_hosts = WWW.test, mail.test:465, [2001:db8::1]:443, 2001:db8::2',
      'replace = in-place /run/tls/cert.pem, /run/tls/key.pem',
    ];
    expect(policy(lines.join('\n'))).toEqual({
      commands: [
        { program: '/opt/reload', args: ['now'] },
        { program: 'nginx', args: ['-t'] },
      ],
      paths: ['/srv/tls', '/opt/tls'],
      owners: ['www-data', '33'],
      maxFileMode: 0o664,
      verifyHosts: ['www.test', 'mail.test:465', '[2001:db8::1]:443', '[2001:db8::2]'],
      inPlace: ['/run/tls/cert.pem', '/run/tls/key.pem'],
      file: 'agent.conf',
      fileTrust: 'strict',
    });
  });

  it.each([
    ['commands = sh -c "x"', 'commands'],
    ['commands = ./reload', 'commands'],
    ['commands =', 'commands is empty'],
    ['paths = tls', 'paths'],
    ['paths = /etc/../tmp', 'paths'],
    ['paths = /a,,/b', 'paths'],
    ['owners = a b', 'owners'],
    ['max_file_mode = 4755', 'max_file_mode'],
    ['max_file_mode = rw', 'max_file_mode'],
    ['verify_hosts = a b', 'verify_hosts'],
    ['replace = /x', 'replace'],
    ['replace = in-place x', 'replace'],
  ])('%j refuses to start, with its line', (line, reason) => {
    expect(refusal({}, needed, `[pull]\n${line}\n`)).toMatch(
      new RegExp(`^agent.conf:2: ${reason}.* expected `),
    );
  });

  it('is said by no option and no variable', () => {
    const variables = {
      ...needed,
      CERTCTL_COMMANDS: 'x',
      CERTCTL_PATHS: '/',
      CERTCTL_OWNERS: 'x',
      COMMANDS: 'x',
    };
    const options = { commands: 'x', paths: '/' } as PullOptions;
    expect(settings(options, variables).policy).toEqual(strictPolicy('agent.conf'));
  });
});
