import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, temporaryDirectory } from '../commands/commands.js';
import type { FakeControlPlane } from './control-plane.js';

/** One heartbeat, one poll and what it brings, by the built command. */
export const once = (plane: FakeControlPlane, env: Record<string, string> = {}, ...args: string[]) =>
  run('ctrl-exec-agent', ['pull', '--once', ...args], {
    env: { ...plane.environment, ...env },
    home: configured(plane),
  });

/** The home of an agent of this control plane, with its agent.conf. */
export function configured(plane: FakeControlPlane): string {
  writeFileSync(join(plane.home, 'agent.conf'), `[pull]\n${plane.policy}\n`);
  return plane.home;
}

export const keyDirectory = (plane: FakeControlPlane) => plane.environment['CERTCTL_KEY_DIR'] ?? '';
/** What was reported of jobs, in order. */
export const reports = (plane: FakeControlPlane) =>
  plane.to('/status').map(({ body }) => [body?.['status'], body?.['error']].filter(Boolean).join(': '));

export const csrJob = (more: object = {}) => ({
  id: 'job-csr',
  type: 'Issuance',
  status: 'AwaitingCSR',
  certificate_id: 'mc-web',
  common_name: 'www.example.test',
  sans: ['www.example.test', 'admin@example.test', '192.0.2.1', '2001:db8::1'],
  ...more,
});

/** A target of files, whose commands note that they ran; `given` may be any command for the reload. */
export function target(given?: string) {
  const directory = temporaryDirectory();
  const at = (name: string) => join(directory, name);
  const [validate, reload] = [`touch ${at('validated')}`, given ?? `touch ${at('reloaded')}`];
  return {
    at,
    /** What the host has to allow for it. */
    policy: `commands = ${validate}, ${reload}\npaths = ${directory}`,
    job: {
      id: 'job-deploy',
      type: 'Deployment',
      status: 'Pending',
      certificate_id: 'mc-web',
      target_id: 't-1',
      target_type: 'NGINX',
      target_config: {
        cert_path: at('cert.pem'),
        key_path: at('key.pem'),
        validate_command: validate,
        reload_command: reload,
      },
    },
  };
}
