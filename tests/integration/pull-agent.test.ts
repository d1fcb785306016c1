import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fakeControlPlane } from '../support/deployment/control-plane.js';
import { csrJob, keyDirectory, once, reports, target } from '../support/deployment/pull-command.js';

const modeOf = (path: string) => statSync(path).mode & 0o7777;

describe('ctrl-exec-agent pull', () => {
  it('from CSR to deployment: what was issued is in place with its key, and reported', async () => {
    const plane = await fakeControlPlane();
    const { at, job, policy } = target();
    plane.policy = policy;
    plane.jobs = [csrJob()];
    expect((await once(plane)).code).toBe(0);
    plane.jobs = [job];
    const ended = await once(plane);
    expect([ended.code, plane.faults, reports(plane)]).toEqual([0, [], ['Running', 'Completed']]);
    const leaf = new X509Certificate(readFileSync(at('cert.pem')));
    expect(leaf.subjectAltName).toBe('DNS:mc-web.test');
    expect(plane.certificates.get('mc-web')).toBe(readFileSync(at('cert.pem'), 'utf8') + plane.issuing.pem);
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
