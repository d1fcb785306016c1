import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { run } from '../../support/commands/commands.js';
import { oldFleet } from '../../support/legacy/fleet.js';

const page = readFileSync(new URL('../../../docs/migration.md', import.meta.url), 'utf8');
const steps = [...page.matchAll(/^### (.*)$/gm)].map(([, title = '']) => title);
const taken = new Set<string>();

/** A step of the page, and its way back. */
async function step(title: string, take: () => Promise<void>): Promise<void> {
  expect(steps).toContain(title);
  await take();
  taken.add(title);
}

const ok = '0 hello you\n';
const fine = (ended: Awaited<ReturnType<typeof run>>) => {
  expect(ended, ended.stdout + ended.stderr).toMatchObject({ code: 0 });
  return ended;
};

it.each(['0.8', '0.12'] as const)(
  'a fleet of %s moves, control host first, and could go back',
  async (version) => {
    const fleet = await oldFleet(version);

    await step('Take over the control host', async () => {
      const { agents, command, control, conf, hello, listed, old } = fleet;
      const [one, two] = agents;
      await one.startOld();
      await two.startOld();
      fine(await command('import-state', control.directory));
      expect(await listed()).toEqual({
        [one.name]: { state: 'unpinned', signed: null },
        [two.name]: { state: 'unpinned', signed: null },
      });
      appendFileSync(conf, 'allow_legacy_agents = *\n');
      fine(await command('ping', one.name, two.name));
      expect(await hello(one, two)).toEqual([ok, ok]);
      expect(await listed()).toEqual({
        [one.name]: { state: 'active', signed: false },
        [two.name]: { state: 'active', signed: false },
      });
      // Back, and forth again.
      expect(await old().run('127.0.0.1', one.port, { script: 'hello', args: ['back'] })).toMatchObject({
        exit: 0,
        stdout: 'hello back\n',
      });
      expect(await hello(one, two)).toEqual([ok, ok]);
    });

    await step('Move an agent host', async () => {
      const { agents, command, hello, listed, old } = fleet;
      const [one, two] = agents;
      const move = async () => {
        await one.stop();
        fine(await one.command('import-state', one.old.directory));
        fine(await one.command('self-check'));
        await one.startNew();
        fine(await command('ping', one.name));
      };
      await move();
      expect(await hello(one, two)).toEqual([ok, ok]);
      expect((await listed())[one.name]).toEqual({ state: 'active', signed: true });
      // Back: the old agent answers unsigned, and is not believed before the operator says so.
      await one.stop();
      await one.startOld();
      expect(await hello(one)).toEqual(['unverified result']);
      fine(await command('edit-agent', one.name, '--legacy'));
      // It has run, and nobody can ask it how that ended.
      fine(await command('release-lock', one.name, 'hello'));
      expect(await hello(one, two)).toEqual([ok, ok]);
      expect(await old().ping('127.0.0.1', one.port)).toMatchObject({ status: 'ok' });
      await move();
      expect(await hello(one, two)).toEqual([ok, ok]);
    });

    await step('Close the door behind the last agent', async () => {
      const { agents, command, conf, hello, listed } = fleet;
      const [one, two] = agents;
      const text = readFileSync(conf, 'utf8');
      const closeDoor = () => writeFileSync(conf, text.replace('allow_legacy_agents = *\n', ''));
      closeDoor();
      expect(await hello(two)).toEqual([expect.stringContaining('does not sign its answers')]);
      // Back: somebody was still behind it.
      writeFileSync(conf, text);
      expect(await hello(two)).toEqual([ok]);
      const tooEarly = await command('rotate-ca');
      expect(tooEarly.code).toBe(1);
      expect(tooEarly.stderr).toContain(two.name);
      await two.stop();
      fine(await two.command('import-state', two.old.directory));
      await two.startNew();
      expect(await hello(one, two)).toEqual([ok, ok]);
      expect(Object.values(await listed()).map(({ signed }) => signed)).toEqual([true, true]);
      closeDoor();
      fine(await command('rotate-cert'));
      fine(await command('maintain'));
      expect(await hello(one, two)).toEqual([ok, ok]);
      fine(await command('rotate-ca'));
      expect(await hello(one, two)).toEqual([ok, ok]);
    });
  },
  // Dozens of commands one after the other.
  180_000,
);

it.each(['0.8', '0.12'] as const)(
  'a fleet of %s moves, agents first, and could go back',
  async (version) => {
    const fleet = await oldFleet(version);

    await step('Move an agent host under an old dispatcher', async () => {
      const { agents, old } = fleet;
      const [one, two] = agents;
      await two.startOld();
      const dispatcher = old();
      const served = async () => {
        const { port } = one;
        expect(await dispatcher.ping('127.0.0.1', port)).toMatchObject({ status: 'ok' });
        expect(await dispatcher.run('127.0.0.1', port, { script: 'hello', args: ['you'] })).toMatchObject({
          exit: 0,
          stdout: 'hello you\n',
        });
        expect(await dispatcher.capabilities('127.0.0.1', port)).toMatchObject({
          scripts: [expect.objectContaining({ name: 'hello', executable: true })],
        });
      };
      const move = async () => {
        fine(await one.command('import-state', one.old.directory, '--accept-legacy-dispatchers'));
        fine(await one.command('self-check'));
        await one.startNew();
      };
      await move();
      await served();
      await one.stop();
      await one.startOld();
      expect(await dispatcher.run('127.0.0.1', one.port, { script: 'hello' })).toMatchObject({ exit: 0 });
      await one.stop();
      await move();
      await served();
    });

    await step('Take over the control host of moved agents', async () => {
      const { agents, command, control, conf, dispatcherId, hello, home, listed, old } = fleet;
      const [one, two] = agents;
      fine(await command('import-state', control.directory));
      appendFileSync(conf, 'allow_legacy_agents = *\n');
      fine(await command('ping', one.name, two.name));
      expect(await hello(one, two)).toEqual([ok, ok]);
      expect(await listed()).toEqual({
        [one.name]: { state: 'active', signed: true },
        [two.name]: { state: 'active', signed: false },
      });
      expect(home).not.toBe(control.directory);
      // Back: the agent that has seen this dispatcher sign wants to be told.
      const asked = () => old().run('127.0.0.1', one.port, { script: 'hello', args: ['back'] });
      expect(await asked()).toMatchObject({ exit: -1, error: expect.stringContaining('401') });
      const [signs] = JSON.parse((await one.command('trust', '--json')).stdout);
      expect(signs).toMatchObject({ dispatcher: dispatcherId, signs: true });
      await one.stop();
      fine(await one.command('trust', '--unsigned', signs.serial));
      const daemon = await one.startNew();
      expect(await asked()).toMatchObject({ exit: 0, stdout: 'hello back\n' });
      expect(await hello(one, two)).toEqual([ok, ok]);
      expect(await asked()).toMatchObject({ exit: -1 });
      // The same without a restart.
      fine(await one.command('trust', '--unsigned', signs.serial));
      daemon.child.kill('SIGHUP');
      await expect.poll(async () => (await asked())['exit']).toBe(0);
      expect(await hello(one, two)).toEqual([ok, ok]);
    });

    await step('Close the door on the agents', async () => {
      const { agents, hello, old } = fleet;
      const [one] = agents;
      const conf = join(one.home, 'agent.conf');
      const [{ serial }] = JSON.parse((await one.command('trust', '--json')).stdout);
      const text = readFileSync(conf, 'utf8');
      expect(text).toMatch(/^accept_legacy_dispatchers = yes$/m);
      const asked = async () => (await old().ping('127.0.0.1', one.port))['status'];
      const reload = async (conf_: string) => {
        await one.stop();
        writeFileSync(conf, conf_);
        // As if nobody had signed: the door alone is what keeps it out.
        fine(await one.command('trust', '--unsigned', serial));
        await one.startNew();
      };
      await reload(text.replace(/^accept_legacy_dispatchers = yes$/m, ''));
      expect(await asked()).not.toBe('ok');
      expect(await hello(one)).toEqual([ok]);
      await reload(text);
      expect(await asked()).toBe('ok');
      await reload(text.replace(/^accept_legacy_dispatchers = yes$/m, ''));
      expect(await hello(one)).toEqual([ok]);
    });
  },
  180_000,
);

it('every step of the page was taken', () => expect([...taken].sort()).toEqual([...steps].sort()));
