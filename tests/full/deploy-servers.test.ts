import { describe, it } from 'vitest';
import { startApache } from '../support/deployment/apache.js';
import { startHaproxy } from '../support/deployment/haproxy.js';
import { startDovecot, startPostfix } from '../support/deployment/mail.js';
import { startNginx } from '../support/deployment/nginx.js';
import { isInstalled } from '../support/deployment/server.js';
import { deploymentSuite } from '../support/deployment/suite.js';

/** The programs are those of Debian's packages of the same names (dovecot: dovecot-imapd). */
const servers = [
  ['NGINX', 'nginx', startNginx],
  ['Apache', 'apache2', startApache],
  ['HAProxy', 'haproxy', startHaproxy],
  ['Postfix', 'postfix', startPostfix],
  ['Dovecot', 'dovecot', startDovecot],
] as const;

// Postfix lowers OpenSSL's demands, and serves what the others refuse.
for (const [name, program, start] of servers)
  if (await isInstalled(program)) deploymentSuite(name, start, { servesSha1: name === 'Postfix' });
  else describe(`deployments to ${name}`, () => it.skip(`${program} is not installed`, () => undefined));
