import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, pairOfFiles, type ServerPlace, start, stopChild, type TestServer } from './server.js';

/** Caddy with its certificates in files, or in its configuration. Nothing of it is written outside the directory. */
async function startedCaddy({ directory }: ServerPlace, certificates: Readonly<Record<string, unknown>>) {
  const [port, adminPort] = [await freePort(), await freePort()];
  const config = join(directory, 'caddy.json');
  const site = {
    listen: [`127.0.0.1:${port}`],
    routes: [{ handle: [{ handler: 'static_response', body: 'here' }] }],
    tls_connection_policies: [{}],
    automatic_https: { disable: true },
  };
  const document = {
    admin: { listen: `127.0.0.1:${adminPort}`, config: { persist: false } },
    apps: { http: { servers: { site } }, tls: { certificates } },
  };
  await writeFile(config, JSON.stringify(document));
  await mkdir(join(directory, 'home'));
  const child = start('/usr/bin/env', [
    `HOME=${join(directory, 'home')}`,
    'caddy',
    'run',
    '--config',
    config,
  ]);
  return { port, config, admin: `127.0.0.1:${adminPort}`, stop: () => stopChild(child) };
}

export async function startCaddyWithFiles(place: ServerPlace): Promise<TestServer> {
  const files = await pairOfFiles(place);
  const load_files = [{ certificate: files.cert, key: files.key }];
  const { port, config, admin, stop } = await startedCaddy(place, { load_files });
  return {
    targetType: 'Caddy',
    port,
    files,
    validates: true,
    talk: undefined,
    config: {
      mode: 'file',
      cert_dir: join(place.directory, 'tls'),
      cert_file: 'cert.pem',
      key_file: 'key.pem',
      validate_command: `caddy validate --config ${config}`,
      reload_command: `caddy reload --force --config ${config} --address ${admin}`,
    },
    stop,
  };
}

export async function startCaddyWithApi(place: ServerPlace) {
  const { certificate, key } = place;
  const { port, admin, stop } = await startedCaddy(place, { load_pem: [{ certificate, key }] });
  return { port, api: `http://${admin}`, stop };
}
