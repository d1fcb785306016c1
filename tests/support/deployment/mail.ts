import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ended,
  freePort,
  pairOfFiles,
  run,
  type ServerPlace,
  start,
  stopByPidFile,
  type TestServer,
} from './server.js';

/** Its master wants to be root, and its directories to be reached by its own user. */
export async function startPostfix(place: ServerPlace): Promise<TestServer> {
  const { directory } = place;
  await chmod(directory, 0o755);
  const [port, files] = [await freePort(), await pairOfFiles(place)];
  const at = (name: string) => join(directory, name);
  for (const name of ['etc', 'queue', 'data']) await mkdir(at(name));
  await run('/bin/chown', ['postfix', at('data')]);
  await writeFile(
    at('etc/main.cf'),
    `compatibility_level = 3.6
queue_directory = ${at('queue')}
data_directory = ${at('data')}
mail_owner = postfix
setgid_group = postdrop
myhostname = www.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = ${at('log')}
maillog_file_prefixes = ${directory}
smtpd_tls_cert_file = ${files.cert}
smtpd_tls_key_file = ${files.key}
smtpd_tls_security_level = may
`,
  );
  const services = [
    `127.0.0.1:${port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes`,
    'pickup unix n - n 60 1 pickup',
    'cleanup unix n - n - 0 cleanup',
    'qmgr unix n - n 300 1 qmgr',
    'tlsmgr unix - - n 1000? 1 tlsmgr',
    'rewrite unix - - n - - trivial-rewrite',
    'bounce unix - - n - 0 bounce',
    'defer unix - - n - 0 bounce',
    'trace unix - - n - 0 bounce',
    'showq unix n - n - - showq',
    'error unix - - n - - error',
    'local unix - n n - - local',
    'proxymap unix - - n - - proxymap',
    'anvil unix - - n - 1 anvil',
    'scache unix - - n - 1 scache',
    'postlog unix-dgram n - n - 1 postlogd',
  ];
  await writeFile(at('etc/master.cf'), `${services.join('\n')}\n`);
  const command = `postfix -c ${at('etc')}`;
  await run('/usr/sbin/postfix', ['-c', at('etc'), 'start']);
  return {
    targetType: 'Postfix',
    port,
    files,
    validates: false,
    talk: { first: '', answered: /^220 /, half: '', rest: 'NOOP\r\n', last: /^250 / },
    config: {
      mode: 'postfix',
      cert_path: files.cert,
      key_path: files.key,
      validate_command: `${command} check`,
      reload_command: `${command} reload`,
    },
    stop: () => stopByPidFile(at('queue/pid/master.pid')),
  };
}

export async function startDovecot(place: ServerPlace): Promise<TestServer> {
  const { directory } = place;
  await chmod(directory, 0o755);
  const [port, files] = [await freePort(), await pairOfFiles(place)];
  const at = (name: string) => join(directory, name);
  await writeFile(
    at('dovecot.conf'),
    `base_dir = ${at('run')}
state_dir = ${at('state')}
log_path = ${at('log')}
protocols = imap
ssl = required
ssl_cert = <${files.cert}
ssl_key = <${files.key}
mail_location = maildir:${at('mail')}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=${at('mail')}
}
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = ${port}
    ssl = yes
  }
}
`,
  );
  // It keeps the standard output that it is started with.
  await ended(start('/usr/sbin/dovecot', ['-c', at('dovecot.conf')]));
  return {
    targetType: 'Dovecot',
    port,
    files,
    validates: false,
    talk: { first: '', answered: /^\* OK /, half: '', rest: 'a NOOP\r\n', last: /^a OK /m },
    config: {
      mode: 'dovecot',
      cert_path: files.cert,
      key_path: files.key,
      validate_command: `doveconf -c ${at('dovecot.conf')} -n`,
      reload_command: `doveadm -c ${at('dovecot.conf')} reload`,
    },
    stop: () => stopByPidFile(at('run/master.pid')),
  };
}
