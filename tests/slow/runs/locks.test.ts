import { join } from 'node:path';
import Libsql from 'libsql';
import { describe, expect, it } from 'vitest';
import { type AgentOnDisk, type DispatcherOnDisk, shared } from '../../support/commands/commands.js';
import { at, eventually, type Gate, gate, pairedFleet, runOne, twin } from '../../support/fleet/fleet.js';

/** Agents that are paired and do not serve: their twins do. */
const fleet = shared(() => pairedFleet({ web: 'web-01', db: 'db-01' }));

describe('locks', () => {
  const locks = async (control: DispatcherOnDisk) =>
    JSON.parse((await control.command('list-locks', '--json')).stdout).locks;

  /** An agent of the fleet once more, with a script that waits for its gate and one that does not. */
  async function busyTwin(paired: AgentOnDisk, busy: Gate) {
    const agent = await twin(paired);
    agent.script('busy', busy.script);
    agent.script('other', '#!/bin/sh\necho other\n');
    await agent.serve();
    return at(agent);
  }

  it('a script that runs is listed and cannot be started again, another one can', async () => {
    const { control, web } = fleet();
    const busy = gate();
    const host = await busyTwin(web, busy);
    const running = control.start('run', '--json', host, 'busy');
    await busy.started();
    expect(await locks(control)).toEqual([
      {
        host,
        script: 'busy',
        reqid: expect.stringMatching(/^[0-9a-f]{16}$/),
        since: expect.stringMatching(/Z$/),
      },
    ]);
    const [header = '', dashes = '', line = ''] = (await control.command('list-locks')).stdout.split('\n');
    expect(header).toMatch(/^HOST +SCRIPT +REQID +SINCE$/);
    expect(dashes).toMatch(/^-+$/);
    expect(line).toMatch(new RegExp(`^${host} +busy +[0-9a-f]{16} +\\d{4}-`));

    const refused = await control.command('run', host, 'busy');
    const { reqid } = (await locks(control))[0];
    const stderr = `Locked: already running: ${host}:busy (run ${reqid})\n`;
    expect(refused).toMatchObject({ code: 1, stdout: '', stderr });
    expect(await runOne(control, host, 'other')).toMatchObject({ exit: 0, stdout: 'other\n' });

    busy.open();
    expect((await running.ended).code).toBe(0);
    expect(await locks(control)).toEqual([]);
    expect(busy.starts()).toBe(1);
  });

  it('what a command that was killed has begun stays locked as long as it runs, and no longer', async () => {
    const { control, web } = fleet();
    const busy = gate();
    const host = await busyTwin(web, busy);
    const killed = control.start('run', host, 'busy');
    await busy.started();
    await killed.stop('SIGKILL');
    const [{ reqid }] = await locks(control);
    expect(await locks(control)).toMatchObject([{ host, script: 'busy', reqid }]);
    const refused = await control.command('run', host, 'busy');
    const stderr = `Locked: already running: ${host}:busy (run ${reqid})\n`;
    expect(refused).toMatchObject({ code: 1, stdout: '', stderr });
    busy.open();
    // Nobody has asked for its end: whoever finds the lock in the way does.
    await eventually(async () => expect((await control.command('run', host, 'busy')).code).toBe(0));
    expect(busy.starts()).toBe(2);
    expect(await locks(control)).toEqual([]);
    expect((await control.command('wait', reqid)).stdout).toMatch(/\[OK {2}exit:0 .*\]\ndone\n$/);
  });

  it('of several hosts are taken all or not at all', async () => {
    const { control, web, db } = fleet();
    const [one, two] = [gate(), gate()];
    const first = await busyTwin(web, one);
    const second = await busyTwin(db, two);
    const running = control.start('run', first, 'busy');
    await one.started();
    const both = await control.command('run', second, first, 'busy');
    const [{ reqid }, ...others] = await locks(control);
    const stderr = `Locked: already running: ${first}:busy (run ${reqid})\n`;
    expect(both).toMatchObject({ code: 1, stdout: '', stderr });
    expect(others).toEqual([]);
    expect(two.starts()).toBe(0);

    const alone = control.start('run', second, 'busy');
    await two.started();
    const neither = await control.command('run', '--json', first, second, 'busy');
    expect(JSON.parse(neither.stdout)).toEqual({
      ok: 0,
      error: 'locked',
      code: 4,
      conflicts: [`${first}:busy`, `${second}:busy`].sort(),
    });
    one.open();
    two.open();
    expect([(await running.ended).code, (await alone.ended).code]).toEqual([0, 0]);
    expect([one.starts(), two.starts()]).toEqual([1, 1]);
  });

  it('a run that fails lets go of its own', async () => {
    const { control } = fleet();
    expect((await control.command('run', at(fleet().web), 'busy')).code).toBe(1);
    expect((await control.command('run', at(fleet().web), 'busy')).stderr).not.toContain('Locked');
    expect(await locks(control)).toEqual([]);
  });
});

it('an agent that dies while a script runs is reported, and its lock stays until it has said what became of it', async () => {
  const { control, web } = fleet();
  const busy = gate();
  const mortal = await twin(web);
  mortal.script('busy', busy.script);
  const daemon = await mortal.serve();
  const running = control.start('run', '--json', 'web-01', at(mortal), 'busy');
  await busy.started();
  await daemon.stop('SIGKILL');
  const { code, stdout } = await running.ended;
  expect(JSON.parse(stdout).results).toMatchObject([
    {
      ...{ host: 'web-01', state: 'unreachable', exit: -1 },
      error: expect.stringContaining('nothing listens on'),
    },
    {
      ...{ host: at(mortal), state: 'unknown', exit: -1 },
      stdout: '',
      error: expect.stringContaining(
        `no answer from ${at(mortal)}: the connection broke before an answer came`,
      ),
    },
  ]);
  expect(code).toBe(1);
  const locks = async () => JSON.parse((await control.command('list-locks', '--json')).stdout).locks;
  expect(await locks()).toMatchObject([{ host: at(mortal), script: 'busy' }]);
  const refused = await control.command('run', at(mortal), 'busy');
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('Locked: already running')]);
  await mortal.serve();
  busy.open();
  expect((await control.command('run', at(mortal), 'busy')).code).toBe(0);
  expect(busy.starts()).toBe(2);
  expect(await locks()).toEqual([]);
});

it('what a script answered is shown also where it cannot be recorded', async () => {
  const busy = gate();
  const web = { name: 'web-01', scripts: { busy: busy.script }, serves: true };
  const { control } = await pairedFleet({ web });
  const running = control.start('run', 'web-01', 'busy');
  await busy.started();
  const database = new Libsql(join(control.home, 'state', 'ctrl-exec.db'));
  // As a newer version of the product leaves it that is installed meanwhile.
  database.exec('PRAGMA user_version = 999');
  database.close();
  busy.open();
  const { stdout, stderr } = await running.ended;
  expect(stdout).toMatch(/^==> web-01 {2}\[OK {2}exit:0 .*\]\ndone\n$/);
  expect(stderr).toContain('ctrl-exec.db');
});
