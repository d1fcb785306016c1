import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { deploymentTarget } from '../../../../src/domain/deploy/targets.js';
import { value } from '../../../contract/result.js';

const material = { leaf: 'LEAF\n', chain: 'CHAIN\n', key: 'KEY\n' };
const installation = (type: string, config: unknown) =>
  value(value(deploymentTarget(type)).install(config, material));
const contents = (type: string, config: unknown) =>
  Object.fromEntries(installation(type, config).files.map(({ path, content }) => [path, content]));
const commands = { validate_command: 'validate', reload_command: 'reload' };

it('NGINX and Apache: chain behind the leaf, or in a file of its own; the key only where it has a place', () => {
  for (const type of ['NGINX', 'Apache']) {
    const [cert_path, key_path, chain_path] = ['/c', '/k', '/ch'];
    expect(contents(type, { ...commands, cert_path, key_path })).toEqual({
      '/c': 'LEAF\nCHAIN\n',
      '/k': 'KEY\n',
    });
    expect(contents(type, { ...commands, cert_path, chain_path })).toEqual({
      '/c': 'LEAF\n',
      '/ch': 'CHAIN\n',
    });
    for (const missing of Object.keys(commands))
      expect(
        value(deploymentTarget(type))
          .install({ ...commands, cert_path, [missing]: '' }, material)
          .isErr(),
      ).toBe(true);
  }
});

it('HAProxy: leaf, chain and key in one file, that is as secret as a key', () => {
  const { files } = installation('HAProxy', {
    pem_path: '/pem',
    reload_command: 'reload',
    pem_file_mode: 384,
  });
  expect(files).toMatchObject([{ path: '/pem', content: 'LEAF\nCHAIN\nKEY\n', kind: 'pem', mode: 0o600 }]);
});

it('Postfix and Dovecot: usual places and commands, each of its own kind unless mode says otherwise', () => {
  expect(installation('Postfix', {})).toMatchObject({ reload: { program: 'postfix', args: ['reload'] } });
  expect(installation('Dovecot', {})).toMatchObject({
    files: [{ path: '/etc/dovecot/certs/cert.pem' }, { path: '/etc/dovecot/certs/key.pem' }],
    reload: { program: 'doveadm', args: ['reload'] },
    validate: { program: 'doveconf', args: ['-n'] },
  });
  expect(installation('Postfix', { mode: 'dovecot' })).toMatchObject({ reload: { program: 'doveadm' } });
});

it('Traefik, Envoy and Caddy: files in a directory, without a reload', () => {
  expect(contents('Traefik', { cert_dir: '/d', cert_file: 'a.crt' })).toEqual({
    '/d/a.crt': 'LEAF\nCHAIN\n',
    '/d/key.pem': 'KEY\n',
  });
  const envoy = contents('Envoy', { cert_dir: '/d', chain_filename: 'chain.pem', sds_config: true });
  expect(Object.keys(envoy)).toEqual(['/d/cert.pem', '/d/chain.pem', '/d/key.pem', '/d/sds.json']);
  expect(JSON.parse(envoy['/d/sds.json'] ?? '')).toMatchObject({
    resources: [{ name: 'server_cert', tls_certificate: { private_key: { filename: '/d/key.pem' } } }],
  });
  expect(installation('Caddy', { mode: 'file', cert_dir: '/d' })).toMatchObject({
    reload: undefined,
    adminApi: undefined,
  });
  expect(installation('Caddy', {})).toMatchObject({ files: [], adminApi: 'http://localhost:2019' });
  for (const cert_file of ['../x', 'a/b', '..', 'a\0'])
    expect(value(deploymentTarget('Traefik')).install({ cert_dir: '/d', cert_file }, material).isErr()).toBe(
      true,
    );
});

it('durations are nanoseconds, and what is enabled without an endpoint is not verified and says so', () => {
  const config = { ...commands, cert_path: '/c', post_deploy_verify_backoff: 1.5e9 };
  const endpoint = { enabled: true, endpoint: 'https://[::1]:8443', timeout: 5e9 };
  expect(installation('NGINX', { ...config, post_deploy_verify: endpoint }).verification).toEqual({
    endpoint: { text: 'https://[::1]:8443', host: '::1', port: 8443 },
    timeout: 5000,
    attempts: 3,
    backoff: 1500,
    maxBackoff: 16_000,
  });
  const without = installation('NGINX', { ...config, post_deploy_verify: { enabled: true } });
  expect(without).toMatchObject({
    verification: undefined,
    warnings: [expect.stringContaining('without an endpoint')],
  });
  expect(
    installation('NGINX', { ...config, post_deploy_verify: { endpoint: 'a:1' } }).verification,
  ).toBeUndefined();
});

it('a target of files is one short file', () => {
  for (const name of ['nginx', 'haproxy', 'traefik'])
    expect(readFileSync(`src/domain/deploy/targets/${name}.ts`, 'utf8').split('\n').length).toBeLessThan(40);
});
