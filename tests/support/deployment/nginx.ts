import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  freePort,
  pairOfFiles,
  run,
  type ServerPlace,
  stopByPidFile,
  type TestServer,
  twoRequests,
} from './server.js';

export async function startNginx(place: ServerPlace): Promise<TestServer> {
  const { directory } = place;
  const [port, files] = [await freePort(), await pairOfFiles(place)];
  const at = (name: string) => join(directory, name);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${at(name)};`)
    .join('\n');
  await writeFile(
    at('nginx.conf'),
    `pid ${at('nginx.pid')};
error_log ${at('error.log')};
worker_processes 1;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 64; }
http {
access_log off;
${temporary}
server {
listen 127.0.0.1:${port} ssl;
ssl_certificate ${files.cert};
ssl_certificate_key ${files.key};
return 200 "here\\n";
}
}
`,
  );
  const command = `nginx -c ${at('nginx.conf')} -e ${at('error.log')}`;
  await run('/usr/sbin/nginx', command.split(' ').slice(1));
  return {
    targetType: 'NGINX',
    port,
    files,
    validates: true,
    talk: twoRequests,
    config: {
      cert_path: files.cert,
      key_path: files.key,
      validate_command: `${command} -t`,
      reload_command: `${command} -s reload`,
    },
    stop: () => stopByPidFile(at('nginx.pid')),
  };
}
