import { okAsync, ResultAsync } from 'neverthrow';
import { beforeAll, describe, expect, it } from 'vitest';
import { strictPolicy } from '../../../../src/domain/deploy/policy.js';
import { deploy, recoverDeployments } from '../../../../src/sdk/deploy/deploy.js';
import { checkMaterial } from '../../../../src/sdk/deploy/material.js';
import { runDeployment } from '../../../../src/sdk/deploy/run.js';
import { failure, value } from '../../../contract/result.js';
import { deploymentWorld } from '../../../support/deployment/world.js';
import { type TestCa, testCa } from '../../../support/network/test-pki.js';

type World = Awaited<ReturnType<typeof deploymentWorld>>;

let ca: TestCa;
beforeAll(async () => {
  ca = await testCa();
});

const bytes = (text: string) => new TextEncoder().encode(text);
const names = ({ files }: World) => [...files.files.keys()].toSorted();
const key = '/etc/tls/key.pem';

describe('a step that did nothing is not undone', () => {
  it('a file that could not be replaced: nothing was changed, and nothing stays beside it', async () => {
    const world = await deploymentWorld(ca);
    const stuck = {
      ...world.files,
      place: (staged: { path: string; temporary: string }) =>
        world.files.look('/nowhere/immutable').map(() => void staged),
    };
    const context = { ...world.context, deploymentFiles: stuck };
    const error = failure(await deploy(context, world.deployment));
    expect(error).toMatchObject({ step: 'replacing', rolledBack: true });
    expect(error.message).toMatch(/; nothing was changed$/);
    expect(names(world)).toEqual(['/etc/tls/cert.pem', key]);
    world.journal.crash();
    expect(value(await world.journal.pending())).toEqual([]);
  });

  it('an old key that cannot be put back does not stay beside its place', async () => {
    const world = await deploymentWorld(ca);
    world.server.exits.reload = [1];
    let places = 0;
    const stuck = {
      ...world.files,
      place: (staged: Parameters<typeof world.files.place>[0]) => {
        places += 1;
        return places > 2
          ? world.files.look('/nowhere/immutable').map(() => undefined)
          : world.files.place(staged);
      },
    };
    const context = { ...world.context, deploymentFiles: stuck };
    const error = failure(await deploy(context, world.deployment));
    expect(error).toMatchObject({ rolledBack: false });
    expect(names(world)).toEqual(['/etc/tls/cert.pem', key]);
    world.journal.crash();
    expect(value(await recoverDeployments(context)).join()).toContain('ROLLBACK FAILED');
    expect(names(world)).toEqual(['/etc/tls/cert.pem', key]);
  });
});

describe('a file that is written in place', () => {
  const mounted = async () => {
    const world = await deploymentWorld(ca);
    world.files.files.set(key, {
      content: bytes(world.old.key),
      mode: 0o600,
      uid: 0,
      gid: 0,
      isMounted: true,
    });
    return world;
  };
  const begin = async ({ journal, files }: World) => {
    const before = value(await files.look(key)).state;
    const file = { path: key, before, after: 'ab'.repeat(32), inPlace: true };
    value(await journal.begin({ targetType: 'NGINX', reload: undefined, files: [file] }));
    return file;
  };

  it('gets back what it had, whatever a crash has left in it', async () => {
    const world = await mounted();
    await begin(world);
    const state = world.files.files.get(key);
    if (state !== undefined) world.files.files.set(key, { ...state, content: bytes('ne') });
    world.journal.crash();
    expect(value(await recoverDeployments(world.context)).join()).toMatch(/^rolled back/);
    expect(world.text(key)).toBe(world.old.key);
    expect(names(world)).toEqual(['/etc/tls/cert.pem', key]);
  });

  it('is left alone where it is no mount point any more', async () => {
    const world = await mounted();
    await begin(world);
    world.put(key, 'of the image below');
    world.journal.crash();
    expect(value(await recoverDeployments(world.context)).join()).toMatch(/^left .* alone/);
    expect(world.text(key)).toBe('of the image below');
  });

  it('gets back what it had when it could be written in part only, and when a later step fails', async () => {
    for (const isCutOff of [true, false]) {
      const world = await mounted();
      const before = world.files.files.get(key);
      const { certificatePem, keyPem } = world.deployment;
      const { context, files } = world;
      world.server.exits.validate = [1];
      let isFirst = true;
      const cutOff: typeof files.place = (staged) => {
        if (!isFirst || !isCutOff) return files.place(staged);
        isFirst = false;
        expect(staged.inPlace).toBeDefined();
        if (before !== undefined) files.files.set(key, { ...before, content: bytes('ne') });
        return files.look('/nowhere/full').map(() => undefined);
      };
      const outcome = await runDeployment(
        { ...context, deploymentFiles: { ...files, place: cutOff } },
        {
          targetType: 'NGINX',
          material: value(checkMaterial(context.crypto, certificatePem, keyPem)),
          changes: [
            { path: key, content: bytes('new'), mode: 0o600, owner: 0, group: 0, before, inPlace: true },
          ],
          validate: { program: '/bin/validate', args: [] },
          reload: undefined,
          adminApi: undefined,
          verification: undefined,
          backups: 3,
        },
      );
      expect(outcome).toMatchObject({
        kind: 'failed',
        step: isCutOff ? 'place' : 'validate',
        undoFailures: [],
      });
      expect(files.files.get(key)).toEqual(before);
      expect(names(world)).toEqual(['/etc/tls/cert.pem', key]);
    }
  });

  it('is refused before anything is touched where [pull] does not name it', async () => {
    const world = await mounted();
    const error = failure(await deploy(world.context, world.deployment));
    expect(error).toMatchObject({ step: 'writing', rolledBack: true });
    expect(error.message).toMatch(
      /is a mount point, .* add it to replace in \[pull\] of .*: replace = in-place .*; nothing was changed$/,
    );
    expect(world.server.commands).toEqual([]);
  });
});

describe('a reload that ends the agent', () => {
  /** What the agent says at its next start. */
  const start = async (world: World) => {
    world.journal.crash();
    return value(await recoverDeployments(world.context)).join();
  };
  const begin = async (world: World, noted: number) => {
    const file = { path: key, before: undefined, after: 'ab'.repeat(32) };
    world.files.files.delete(key);
    const reload = { program: '/bin/reload', args: [] };
    const id = value(await world.journal.begin({ targetType: 'NGINX', reload, files: [file] }));
    for (let time = 0; time < noted; time += 1) value(await world.journal.noteReload(id));
  };

  it('is noted before it runs, and runs twice at most, that of the deployment among them', async () => {
    const world = await deploymentWorld(ca);
    await begin(world, 1);
    const died = new Promise<void>((resolve) => {
      const runner: World['context']['runner'] = {
        ...world.context.runner,
        run: () => {
          resolve();
          return new ResultAsync(new Promise<never>(() => undefined));
        },
      };
      world.journal.crash();
      void recoverDeployments({ ...world.context, runner }).then(() => undefined);
    });
    await died;
    expect(await start(world)).toBe(
      'ROLLBACK FAILED of an interrupted deployment to NGINX (/etc/tls/key.pem): the previous files are back, but "/bin/reload" was begun 2 times and is not tried again: run it yourself. The record is set aside; backups: deployment-1 in memory',
    );
    expect(world.server.commands).toEqual([]);
    expect(await start(world)).toBe('');
  });

  it('is not run where this host does not allow it any more', async () => {
    const world = await deploymentWorld(ca);
    await begin(world, 1);
    world.journal.crash();
    const context = { ...world.context, policy: strictPolicy('/etc/agent.conf') };
    expect(value(await recoverDeployments(context)).join()).toMatch(
      /^ROLLBACK FAILED .*commands in \[pull\] of \/etc\/agent\.conf/,
    );
    expect(world.server.commands).toEqual([]);
  });

  it('is not run where somebody else can change its program by now', async () => {
    const world = await deploymentWorld(ca);
    await begin(world, 1);
    world.journal.crash();
    const path = '/bin/reload';
    const fault = { path, severity: 'strict', reason: `${path} belongs to uid 7`, heal: 'chown' } as const;
    const files = { ...world.context.files, faults: () => okAsync([fault]) };
    expect(value(await recoverDeployments({ ...world.context, files })).join()).toMatch(
      /^ROLLBACK FAILED .*the previous files are back, but not trusted: \/bin\/reload belongs to uid 7: chown/,
    );
    expect(world.server.commands).toEqual([]);
  });

  it('is tried at the next start where it failed, and set aside after that', async () => {
    const world = await deploymentWorld(ca);
    await begin(world, 1);
    world.server.exits.reload = [1];
    expect(await start(world)).toContain('"/bin/reload" exited with 1');
    expect(await start(world)).toContain('is set aside');
    expect(world.server.commands).toEqual(['reload']);
    expect(world.journal.backups()).toEqual(['deployment-1']);
  });
});

it('a record that cannot be used is told, and hides no other', async () => {
  const world = await deploymentWorld(ca);
  const problem = 'cannot read /keys/deployments/x-1/1/pending.json';
  const journal = { ...world.journal, pending: () => okAsync([{ id: 'x-1/1', problem }]) };
  const lines = value(await recoverDeployments({ ...world.context, deploymentJournal: journal }));
  expect(lines).toEqual([`ROLLBACK FAILED of an interrupted deployment: ${problem}`]);
});
