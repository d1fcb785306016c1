import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  freePort,
  pairOfFiles,
  run,
  type ServerPlace,
  script,
  stopByPidFile,
  type TestServer,
  twoRequests,
} from './server.js';

export async function startApache(place: ServerPlace): Promise<TestServer> {
  const { directory } = place;
  const [port, files] = [await freePort(), await pairOfFiles(place)];
  const at = (name: string) => join(directory, name);
  const modules = ['mpm_event', 'authz_core', 'ssl', 'socache_shmcb']
    .map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`)
    .join('\n');
  await writeFile(
    at('apache.conf'),
    `ServerRoot ${directory}
ServerName localhost
DefaultRuntimeDir ${directory}
PidFile ${at('apache.pid')}
ErrorLog ${at('error.log')}
Listen 127.0.0.1:${port}
StartServers 1
${process.getuid?.() === 0 ? 'User nobody\nGroup nogroup' : ''}
${modules}
<VirtualHost *:${port}>
SSLEngine on
SSLCertificateFile ${files.cert}
SSLCertificateKeyFile ${files.key}
</VirtualHost>
`,
  );
  const command = `apache2 -f ${at('apache.conf')}`;
  await run('/usr/sbin/apache2', [...command.split(' ').slice(1), '-k', 'start']);
  // One that has ended is a zombie until init reaps it, and `-k graceful` takes it for alive: service managers know better.
  const reload = await script(
    at('reload'),
    `grep -q '^State:[[:space:]]*[DRST]' "/proc/$(cat ${at('apache.pid')})/status" || rm -f ${at('apache.pid')}`,
    `exec ${command} -k graceful`,
  );
  return {
    targetType: 'Apache',
    port,
    files,
    validates: false,
    talk: twoRequests,
    config: {
      cert_path: files.cert,
      key_path: files.key,
      validate_command: `${command} -t`,
      reload_command: reload,
    },
    stop: () => stopByPidFile(at('apache.pid')),
  };
}
