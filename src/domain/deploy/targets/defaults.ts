import type { Command } from '../command.js';
import type { TargetDefaults } from '../policy.js';

const command = (text: string): Command => {
  const [program = '', ...args] = text.split(' ');
  return { program, args };
};

/** How a service manager is told to reload a service. */
const reloads = (...services: readonly string[]) =>
  services.flatMap((service) => [
    `systemctl reload ${service}`,
    `systemctl reload ${service}.service`,
    `service ${service} reload`,
  ]);

const apachePrograms = ['apachectl', 'apache2ctl', 'httpd'];

const needs = (directories: readonly string[], commands: readonly string[]): TargetDefaults => ({
  directories,
  commands: commands.map(command),
});

/** Either type may be about either server. */
const mail = needs(
  ['/etc/postfix', '/etc/dovecot'],
  [
    ...reloads('postfix', 'dovecot'),
    ...['postfix check', 'postfix reload'],
    ...['doveconf -n', 'doveconf', 'doveadm reload'],
  ],
);

const caddyfile = '--config /etc/caddy/Caddyfile';

/** What each type of target needs; docs/pull-targets.md lists them. */
const byType: ReadonlyMap<string, TargetDefaults> = new Map([
  ['NGINX', needs(['/etc/nginx'], [...reloads('nginx'), 'nginx -t', 'nginx -t -q', 'nginx -s reload'])],
  [
    'Apache',
    needs(
      ['/etc/apache2', '/etc/httpd'],
      [
        ...reloads('apache2', 'httpd'),
        ...apachePrograms.flatMap((program) => [`${program} -t`, `${program} -k graceful`]),
        ...['apachectl', 'apache2ctl'].flatMap((program) => [`${program} configtest`, `${program} graceful`]),
      ],
    ),
  ],
  [
    'HAProxy',
    needs(
      ['/etc/haproxy'],
      [
        ...reloads('haproxy'),
        'haproxy -c -f /etc/haproxy/haproxy.cfg',
        'haproxy -c -q -f /etc/haproxy/haproxy.cfg',
      ],
    ),
  ],
  ['Postfix', mail],
  ['Dovecot', mail],
  ['Traefik', needs(['/etc/traefik'], [])],
  ['Envoy', needs(['/etc/envoy'], [])],
  [
    'Caddy',
    needs(
      ['/etc/caddy'],
      [
        ...reloads('caddy'),
        `caddy validate ${caddyfile}`,
        `caddy reload ${caddyfile}`,
        `caddy reload --force ${caddyfile}`,
        `caddy reload ${caddyfile} --force`,
      ],
    ),
  ],
]);

/** What a type of target is allowed without a line in the configuration. */
export const targetDefaults = (type: string): TargetDefaults => byType.get(type) ?? needs([], []);
