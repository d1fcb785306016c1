import { expect, it } from 'vitest';
import { parseCommand } from '../../../../src/domain/deploy/command.js';
import { isVerifyHost, strictPolicy, whyNotCommand } from '../../../../src/domain/deploy/policy.js';
import { targetDefaults } from '../../../../src/domain/deploy/targets/defaults.js';

const why = (type: string, text: string, commands: readonly string[] = []) => {
  const asked = parseCommand(text);
  if (asked === undefined) throw new Error(`not a command: ${text}`);
  const allowed = commands.flatMap((each) => parseCommand(each) ?? []);
  return whyNotCommand({ ...strictPolicy('f'), commands: allowed }, targetDefaults(type), asked);
};

it.each([
  [
    'NGINX',
    [
      'nginx -t',
      '/usr/sbin/nginx -t',
      'nginx -s reload',
      'systemctl reload nginx',
      '/bin/systemctl reload nginx.service',
      'service nginx reload',
    ],
  ],
  [
    'Apache',
    [
      'apachectl -t',
      'apache2ctl configtest',
      'httpd -k graceful',
      'systemctl reload apache2',
      'systemctl reload httpd',
    ],
  ],
  ['HAProxy', ['haproxy -c -f /etc/haproxy/haproxy.cfg', 'systemctl reload haproxy']],
  ['Postfix', ['postfix check', 'postfix reload', 'doveadm reload']],
  ['Dovecot', ['doveconf -n', 'doveadm reload', '/usr/bin/doveadm reload']],
  ['Caddy', ['caddy reload --force --config /etc/caddy/Caddyfile', 'systemctl reload caddy']],
])('%s may do what it needs', (type, commands) => {
  for (const text of commands) expect(why(type, text)).toBeUndefined();
});

it('nothing else, not even for another type', () => {
  for (const text of [
    'systemctl stop nginx',
    'systemctl reload sshd',
    'nginx',
    'nginx -t -c /tmp/x',
    '/opt/sbin/nginx -t',
    '/usr/sbin/../../tmp/nginx -t',
  ])
    expect(why('NGINX', text)).toContain('is not allowed here');
  expect(why('Apache', 'nginx -t')).toContain('is not allowed here');
  expect(why('Traefik', 'systemctl reload traefik')).toContain('commands = systemctl reload traefik');
});

it('what the host adds is compared word for word', () => {
  const added = ['/opt/reload  all now'];
  expect(why('NGINX', '/opt/reload all now', added)).toBeUndefined();
  for (const text of ['/opt/reload all', '/opt/reload all now now', '/opt/reload now all', 'reload all now'])
    expect(why('NGINX', text, added)).toContain(`commands = /opt/reload all now, ${text}`);
  expect(why('NGINX', 'reload a,b')).toContain('put it into a script');
});

it('a host is named with a port or for all of them', () => {
  const policy = { ...strictPolicy('f'), verifyHosts: ['www.test', 'mail.test:465', '[2001:db8::1]'] };
  expect(isVerifyHost(policy, 'WWW.test', 1)).toBe(true);
  expect(isVerifyHost(policy, 'mail.test', 465)).toBe(true);
  expect(isVerifyHost(policy, 'mail.test', 25)).toBe(false);
  expect(isVerifyHost(policy, '2001:db8::1', 443)).toBe(true);
  expect(isVerifyHost(policy, 'x.www.test', 443)).toBe(false);
});
