import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { value } from '../../contract/result.js';
import { atEnd, shared, start } from '../../support/commands/commands.js';
import { eventually, gate, runOne } from '../../support/fleet/fleet.js';
import {
  backdateSwitch,
  lifecycleFleet,
  ran,
  serialIn,
  standings,
  trustedBy,
} from '../../support/fleet/lifecycle-fleet.js';
import { watchEffects } from '../../support/kill/effects.js';
import { isInterrupted, lookAtDispatcher } from '../../support/kill/looks.js';

const fleet = shared(async () => {
  const made = await lifecycleFleet(['web-01', 'web-02', 'db-01'], 'cert_overlap_days = 1\n');
  for (const name of ['web-01', 'web-02'])
    for (const script of ['one', 'two', 'kept'])
      made.agent(name).script(script, `#!/bin/sh\necho ${script}\n`);
  await Promise.all([made.up('web-01'), made.up('web-02'), made.up('db-01')]);
  return made;
});

const everybodyUp = () => Promise.all(['web-01', 'web-02', 'db-01'].map((name) => fleet().up(name)));
const status = async () => value(await fleet().library.serialStatus());
const inUse = () => serialIn(fleet().control.home, 'ctrl-exec.crt');

/** Ends what an earlier test has left announced, and tells everybody. */
async function settled() {
  await everybodyUp();
  const { failed, stale, pending } = value(await fleet().library.maintain());
  expect({ failed, stale, pending }).toEqual({ failed: [], stale: [], pending: [] });
}

async function rotated(...options: string[]) {
  const ended = await fleet().control.command('rotate-cert', '--json', ...options);
  return { code: ended.code, ...JSON.parse(ended.stdout || '{}') };
}

/** Asks again and again until it is told to stop, and keeps what was not as it should be. */
function again(ask: () => Promise<string>) {
  const failures: string[] = [];
  let times = 0;
  let on = true;
  const loop = (async () => {
    while (on) {
      const failure = await ask();
      if (failure !== '') failures.push(failure);
      times += 1;
    }
  })();
  const stop = () => {
    on = false;
    return loop;
  };
  atEnd(stop);
  return {
    failures,
    stop,
    /** Waits for so many more of them. */
    async more(count: number) {
      const enough = times + count;
      await eventually(() => expect(times).toBeGreaterThanOrEqual(enough));
    },
  };
}

describe('rotate-cert', () => {
  it('no run fails while the identity is replaced, however it is asked for', {
    timeout: 60_000,
  }, async () => {
    await settled();
    const { control } = fleet();
    const { script, started, open } = gate();
    fleet().agent('web-02').script('gate', script);
    (await fleet().up('web-02')).child.kill('SIGHUP');
    const { library } = fleet();
    const slow = library.run({ hosts: ['web-02'], script: 'gate' });
    await started();

    const commands = ['one', 'two'].map((name) =>
      again(async () => {
        const { code, stdout, stderr } = await control.command('run', 'web-01', 'web-02', name);
        return code === 0 ? '' : stdout + stderr;
      }),
    );
    const kept = again(async () => {
      const outcome = await library.run({ hosts: ['web-01', 'web-02'], script: 'kept' });
      const failed = value(outcome).results.filter(({ exit }) => exit !== 0);
      return failed.map(({ host, error }) => `${host}: ${error}`).join(', ');
    });
    const all = [...commands, kept];
    await Promise.all(all.map((each) => each.more(1)));

    const serials = [inUse()];
    for (let round = 1; round <= 2; round++) {
      const rotation = await rotated();
      expect(rotation).toMatchObject({ code: 0, ok: 1, state: 'switched', pending: [], refused: [] });
      expect(rotation.acknowledged.toSorted()).toEqual(['db-01', 'web-01', 'web-02']);
      expect(rotation.old).toBe(serials.at(-1));
      expect(rotation.next).toBe(inUse());
      serials.push(inUse());
      await Promise.all(all.map((each) => each.more(1)));
    }
    expect(new Set(serials).size).toBe(3);
    open();
    expect(value(await slow).results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);
    await Promise.all(all.map((each) => each.stop()));
    expect(all.flatMap(({ failures }) => failures)).toEqual([]);
    // Whoever was asked since trusts the present serial and the one before, and no older one.
    for (const name of ['web-01', 'web-02'])
      expect(trustedBy(fleet().agent(name)).toSorted()).toEqual(serials.slice(1).toSorted());
  });

  it('an agent that was away within the overlap is pending, and current after a plain run', async () => {
    await settled();
    const { control } = fleet();
    await fleet().down('db-01');
    const ended = await control.command('rotate-cert');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toMatch(
      new RegExp(
        `^Certificate ${inUse()} is in use, [0-9a-f]+ before it; 2 agents told\n {2}pending db-01: .*nothing listens`,
      ),
    );
    expect(standings(await status())).toEqual({
      'db-01': 'pending',
      'web-01': 'current',
      'web-02': 'current',
    });
    const daemon = await fleet().up('db-01');
    expect(trustedBy(fleet().agent('db-01'))).not.toContain(inUse());
    expect(await runOne(control, 'db-01', 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
    expect(standings(await status())['db-01']).toBe('current');
    expect(trustedBy(fleet().agent('db-01'))).toContain(inUse());
    expect(daemon.output('stderr')).not.toMatch(/succession/);
  });

  it('an agent that was away for longer, and for two rotations, is stale and follows by succession', async () => {
    await settled();
    const { control } = fleet();
    const known = inUse();
    await fleet().down('db-01');
    for (let round = 1; round <= 2; round++)
      expect(value(await fleet().library.rotate())).toMatchObject({ state: 'switched' });
    backdateSwitch(control, 2);
    expect(await status()).toMatchObject({ previous: undefined, overlapEnds: undefined });
    expect(standings(await status())['db-01']).toBe('stale');

    const maintained = await control.command('maintain', '--json');
    expect(maintained.code).toBe(1);
    expect(JSON.parse(maintained.stdout)).toMatchObject({
      stale: ['db-01'],
      pending: [],
      failed: [{ name: 'db-01' }],
    });
    expect(() => readFileSync(join(control.home, 'ctrl-exec-previous.key'))).toThrow('ENOENT');

    const daemon = await fleet().up('db-01');
    expect(trustedBy(fleet().agent('db-01'))).toContain(known);
    expect(await runOne(control, 'db-01', 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
    await daemon.shows(/ACTION=succession-accepted .*STEPS=2/, 'stderr');
    expect(trustedBy(fleet().agent('db-01'))).toEqual([inUse()]);
    // Nobody else has need of the one before any more either.
    expect(trustedBy(fleet().agent('web-01'))).toEqual([inUse()]);
    expect(value(await fleet().library.maintain())).toMatchObject({ failed: [], stale: [] });
  });

  it('waits for an agent that answers and cannot take it, unless it is told not to', async () => {
    await settled();
    const { control } = fleet();
    const { home } = fleet().agent('web-02');
    const known = inUse();
    // What cannot be replaced by a file.
    const obstacle = join(home, 'state/dispatcher-certificates.pem');
    rmSync(obstacle);
    mkdirSync(obstacle);
    writeFileSync(join(obstacle, 'full'), '');
    const waiting = await control.command('rotate-cert');
    expect(waiting.code).toBe(1);
    expect(waiting.stdout).toMatch(
      new RegExp(`is announced, ${known} still in use: 1 agent refused it .*\n {2}refused web-02: `),
    );
    expect(inUse()).toBe(known);
    const now = await status();
    expect(now).toMatchObject({ current: known, next: expect.stringMatching(/^[0-9a-f]+$/) });
    expect(standings(now)).toMatchObject({ 'web-01': 'current', 'web-02': 'pending' });
    expect(await ran(fleet().library, 'web-02', 'hello')).toMatchObject({ exit: 0 });

    expect(await rotated('--force')).toMatchObject({
      code: 0,
      state: 'switched',
      old: known,
      next: now.next,
      refused: [{ name: 'web-02' }],
    });
    expect(inUse()).toBe(now.next);
    rmSync(obstacle, { recursive: true });
    expect(await ran(fleet().library, 'web-02', 'hello')).toMatchObject({ exit: 0 });
    expect(standings(await status())['web-02']).toBe('current');
  });

  it('kill -9 at any moment: agents answer all the time, and the next call goes on', {
    timeout: 60_000,
  }, async () => {
    await settled();
    const { control, library } = fleet();
    const signals: unknown[] = [];
    for (let round = 0; round < 5; round++) {
      const known = inUse();
      const effects = watchEffects(
        [control.home, join(control.home, 'state')],
        /next|previous|journal|rotation/,
      );
      const rotation = start('ctrl-exec', ['rotate-cert'], { home: control.home });
      await Promise.race([effects.began, rotation.ended]);
      const moment = [0, 4, 15, 40, 80][round] ?? 0;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * moment));
      signals.push((await rotation.stop('SIGKILL')).signal);
      await effects.end();

      const { next } = await status();
      const { results } = value(await library.run({ hosts: ['web-01', 'web-02'], script: 'one' }));
      expect({ round, results }).toMatchObject({ round, results: [{ exit: 0 }, { exit: 0 }] });
      expect(isInterrupted(control.home)).toBe(false);
      lookAtDispatcher(control.home);
      if (next !== undefined) {
        // It was announced already: nobody has to be told of yet another one.
        const following =
          round % 2 === 0 ? await control.command('rotate-cert') : await control.command('maintain');
        expect(following, following.stderr).toMatchObject({ code: 0 });
        expect(inUse()).toBe(next);
      }
      const now = await status();
      expect(now).toMatchObject({ next: undefined, current: inUse() });
      expect([now.current, now.previous]).toContain(known);
    }
    expect(signals).toContain('SIGKILL');
    await settled();
    expect(standings(await status())).toEqual({
      'db-01': 'current',
      'web-01': 'current',
      'web-02': 'current',
    });
  });
});
