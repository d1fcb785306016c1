import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  freePort,
  run,
  type ServerPlace,
  stopByPidFile,
  type TestServer,
  twoRequests,
  until,
} from './server.js';

export async function startHaproxy({ directory, certificate, key }: ServerPlace): Promise<TestServer> {
  const port = await freePort();
  const at = (name: string) => join(directory, name);
  await mkdir(at('tls'));
  const pem = at('tls/site.pem');
  await writeFile(pem, certificate + key, { mode: 0o600 });
  await writeFile(
    at('haproxy.cfg'),
    `defaults
timeout connect 5s
timeout client 30s
timeout server 30s
frontend www
mode http
bind 127.0.0.1:${port} ssl crt ${at('tls')}
http-request return status 200
`,
  );
  await run('/usr/sbin/haproxy', ['-W', '-D', '-f', at('haproxy.cfg'), '-p', at('haproxy.pid')]);
  const pid = async () => (await readFile(at('haproxy.pid'), 'utf8').catch(() => '')).trim();
  await until('haproxy has written its pid', async () => (await pid()) !== '');
  return {
    targetType: 'HAProxy',
    port,
    files: { cert: pem, key: pem },
    validates: true,
    talk: twoRequests,
    config: {
      pem_path: pem,
      validate_command: `haproxy -c -f ${at('haproxy.cfg')}`,
      reload_command: `kill -USR2 ${await pid()}`,
    },
    stop: () => stopByPidFile(at('haproxy.pid')),
  };
}
