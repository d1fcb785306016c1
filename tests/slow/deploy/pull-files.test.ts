import { chmodSync, chownSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deploy, recoverDeployments } from '../../../src/sdk/deploy/deploy.js';
import { failure, value } from '../../contract/result.js';
import { asRoot } from '../../support/as-root.js';
import { allowing, realContext } from '../../support/deployment/context.js';
import { fakeControlPlane } from '../../support/deployment/control-plane.js';
import { keyDirectory, once } from '../../support/deployment/pull-command.js';
import { run } from '../../support/deployment/server.js';
import { testCa } from '../../support/network/test-pki.js';

describe('a key directory in which others could write', () => {
  /** Somebody else's record of a deployment, whose command leaves a trace. */
  async function planted() {
    const plane = await fakeControlPlane();
    const keys = keyDirectory(plane);
    const trace = join(keys, '../trace');
    const set = join(keys, 'deployments/x-1/00000001-999999999-1-0-0-0123456789abcdef');
    mkdirSync(set, { recursive: true, mode: 0o700 });
    const record = {
      format: 1,
      targetType: 'NGINX',
      reload: ['/usr/bin/touch', trace],
      files: [{ path: '/nowhere', after: 'ab'.repeat(32) }],
    };
    writeFileSync(join(set, 'pending.json'), JSON.stringify(record));
    writeFileSync(join(set, 'reloading'), '+');
    const refused = async (heals: string) => {
      const { code, stderr } = await once(plane);
      expect([code, existsSync(trace), plane.calls]).toEqual([78, false, []]);
      expect(stderr).toContain(heals);
    };
    return { keys, set, refused };
  }

  it('is refused with one line that heals it, and no command of a planted record runs', async () => {
    const { keys, set, refused } = await planted();
    chmodSync(keys, 0o777);
    await refused(`\`chmod go-w ${keys}\``);
    chmodSync(keys, 0o700);
    chmodSync(join(set, 'pending.json'), 0o666);
    await refused(`\`chmod go-w ${set}/pending.json\``);
    rmSync(join(set, 'pending.json'));
    rmSync(join(keys, 'former'), { recursive: true });
    symlinkSync('/etc', join(keys, 'former'));
    await refused(`rm ${keys}/former`);
  });

  asRoot('is refused where a directory or a file is of another user', async () => {
    const { keys, set, refused } = await planted();
    for (const path of [join(set, 'pending.json'), set, join(keys, 'deployments'), keys]) {
      chownSync(path, 65534, 65534);
      await refused(`\`chown root ${path}\``);
      chownSync(path, 0, 0);
    }
  });
});

describe('a file that cannot be replaced', () => {
  async function world() {
    const directory = await realpath(await mkdtemp(join(tmpdir(), 'ctrl-exec-irreplaceable-')));
    const at = (name: string) => join(directory, name);
    const undo: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })];
    onTestFinished(async () => {
      for (const each of undo.toReversed()) await each();
    });
    mkdirSync(at('tls'));
    mkdirSync(at('deployments'), { mode: 0o700 });
    for (const name of ['cert.pem', 'key.pem']) await writeFile(at(`tls/${name}`), '', { mode: 0o600 });
    const ca = await testCa();
    const real = realContext(directory, 1000);
    const commands = { validate_command: '/bin/true', reload_command: '/bin/true' };
    const context = { ...real, policy: allowing(real.policy, commands) };
    const install = async () => {
      const { certificate, key } = await ca.issue();
      const targetConfig = {
        cert_path: at('tls/cert.pem'),
        key_path: at('tls/key.pem'),
        ...commands,
      };
      const order = { targetType: 'NGINX', targetConfig, certificatePem: certificate, keyPem: key };
      return failure(await deploy(context, order));
    };
    /** As it was: nothing is beside the files, and nothing is pending. */
    const expectUntouched = async () => {
      expect((await readdir(at('tls'))).toSorted()).toEqual(['cert.pem', 'key.pem']);
      expect(await readFile(at('tls/cert.pem'), 'utf8')).toBe('');
      expect(await readdir(at('deployments'))).toEqual([]);
      expect(value(await recoverDeployments(context))).toEqual([]);
    };
    return { at, undo, install, expectUntouched };
  }

  asRoot('a mount point: nothing is changed, nothing left, and it says what heals it', async () => {
    const { at, undo, install, expectUntouched } = await world();
    await writeFile(at('elsewhere'), '');
    await run('mount', ['--bind', at('elsewhere'), at('tls/key.pem')]);
    undo.push(() => run('umount', [at('tls/key.pem')]));
    const error = await install();
    expect(error).toMatchObject({ code: 'deployment_failed', rolledBack: true });
    expect(error.message).toMatch(/mount point.*: replace = in-place .*key\.pem; nothing was changed$/);
    await expectUntouched();
  });

  asRoot('an immutable file: what was placed before it is put back, and it says what heals it', async () => {
    const { at, undo, install, expectUntouched } = await world();
    await run('chattr', ['+i', at('tls/key.pem')]);
    undo.push(() => run('chattr', ['-i', at('tls/key.pem')]));
    const error = await install();
    expect(error).toMatchObject({ code: 'deployment_failed', step: 'replacing', rolledBack: true });
    expect(error.message).toMatch(/`chattr -i .*key\.pem`/);
    await expectUntouched();
  });
});
