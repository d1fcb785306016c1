import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run, temporaryDirectory } from '../support/commands/commands.js';
import { type FakeControlPlane, fakeControlPlane } from '../support/deployment/control-plane.js';

const once = (plane: FakeControlPlane, env: Record<string, string> = {}, ...args: string[]) =>
  run('ctrl-exec-agent', ['pull', '--once', ...args], { env: { ...plane.environment, ...env } });
const keyDirectory = (plane: FakeControlPlane) => plane.environment['CERTCTL_KEY_DIR'] ?? '';
const modeOf = (path: string) => statSync(path).mode & 0o7777;
const reports = (plane: FakeControlPlane) =>
  plane.to('/status').map(({ body }) => [body?.['status'], body?.['error']].filter(Boolean).join(': '));

const csrJob = (more: object = {}) => ({
  id: 'job-csr',
  type: 'Issuance',
  status: 'AwaitingCSR',
  certificate_id: 'mc-web',
  common_name: 'www.example.test',
  sans: ['www.example.test', 'admin@example.test', '192.0.2.1', '2001:db8::1'],
  ...more,
});

/** A target of files, whose commands note that they ran; `reload` may be any command. */
function target(reload?: string) {
  const directory = temporaryDirectory();
  const at = (name: string) => join(directory, name);
  return {
    at,
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
        validate_command: `touch ${at('validated')}`,
        reload_command: reload ?? `touch ${at('reloaded')}`,
      },
    },
  };
}

describe('ctrl-exec-agent pull', () => {
  it('from CSR to deployment: what was issued is in place with its key, and reported', async () => {
    const plane = await fakeControlPlane();
    const { at, job } = target();
    plane.jobs = [csrJob()];
    expect((await once(plane)).code).toBe(0);
    plane.jobs = [job];
    const ended = await once(plane);
    expect([ended.code, plane.faults, reports(plane)]).toEqual([0, [], ['Running', 'Completed']]);
    const leaf = new X509Certificate(readFileSync(at('cert.pem')));
    expect(leaf.subjectAltName).toBe('DNS:mc-web.test');
    expect(readFileSync(at('cert.pem'), 'utf8')).toContain(plane.issuing.pem.trim());
    expect(readFileSync(at('key.pem'), 'utf8')).toBe(
      readFileSync(join(keyDirectory(plane), 'mc-web.key'), 'utf8'),
    );
    expect([existsSync(at('validated')), existsSync(at('reloaded')), modeOf(at('key.pem'))]).toEqual([
      true,
      true,
      0o640,
    ]);
    // Once more: nothing has changed, so nothing is done.
    plane.jobs = [{ ...job, id: 'job-again' }];
    expect((await once(plane)).stderr).toContain('CHANGED=no');
    expect(reports(plane).slice(2)).toEqual(['Running', 'Completed']);
  });
});
