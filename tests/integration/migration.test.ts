import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { freePort, run, type Started, shared, start, temporaryDirectory } from '../support/commands.js';
import { type LegacyAgentHost, legacyAgentHost, legacyControlHost } from '../support/legacy/installation.js';
import { type LegacyAgent, startLegacyAgent } from '../support/legacy/legacy-agent.js';
import { legacyDispatcher } from '../support/legacy/legacy-dispatcher.js';
import { treeDigest } from '../support/legacy/tree.js';

const page = readFileSync(new URL('../../docs/migration.md', import.meta.url), 'utf8');
const steps = [...page.matchAll(/^### (.*)$/gm)].map(([, title = '']) => title);
const taken = new Set<string>();

/** A step of the page, and afterwards its way back. */
const step = (title: string, take: () => Promise<void>) =>
  it(title, async () => {
    expect(steps).toContain(title);
    await take();
    taken.add(title);
  });

type Version = '0.8' | '0.12';

/** A host that runs the old agent or the new one, under the same address. */
interface AgentHost {
  readonly name: string;
  readonly port: number;
  readonly old: LegacyAgentHost;
  readonly home: string;
  /** Ends whichever agent runs there. */
  stop(): Promise<void>;
  startOld(): Promise<LegacyAgent>;
  startNew(): Promise<Started>;
  command(...args: string[]): ReturnType<typeof run>;
}

/** A control host with two agents, as an installation of that version left them. */
async function installation(version: Version) {
  const root = temporaryDirectory();
  const control = legacyControlHost(join(root, 'control'), { version });
  const dispatcherId = version === '0.8' ? 'legacy' : control.dispatcherId;
  const identity = { ...control.dispatcher, ca: control.ca.certificate };

  const agentHost = async (name: string): Promise<AgentHost> => {
    const port = await freePort();
    const old = legacyAgentHost(join(root, name), {
      version,
      control,
      name,
      port,
      conf: 'bind = 127.0.0.1',
    });
    old.script('hello', '#!/bin/sh\necho hello "$1"\n');
    control.register(name, { port, ip: '127.0.0.1', lookup_by: 'ip' });
    const home = join(root, `${name}-new`);
    let running: { stop(): Promise<unknown> } | undefined;
    const stop = async () => {
      await running?.stop();
      running = undefined;
    };
    return {
      name,
      port,
      old,
      home,
      stop,
      async startOld() {
        const agent = await startLegacyAgent({
          version,
          identity: { ...old.agent, ca: control.ca.certificate },
          trusted: readFileSync(old.trustFile, 'utf8').split('\n'),
          scripts: new Map([['hello', ({ args }) => ({ exit: 0, stdout: `hello ${args[0] ?? ''}\n` })]]),
          hostName: name,
          port,
        });
        running = { stop: () => agent.close() };
        return agent;
      },
      async startNew() {
        const daemon = start('ctrl-exec-agent', ['serve'], { home });
        await daemon.shows(/Serving on/);
        running = daemon;
        return daemon;
      },
      command: (...args) => run('ctrl-exec-agent', args, { home }),
    };
  };

  const agents = [await agentHost('one.example.com'), await agentHost('two.example.com')] as const;
  const home = join(root, 'control-new');
  const command = (...args: string[]) => run('ctrl-exec', args, { home });
  const before = treeDigest(join(root, 'control'));
  return {
    version,
    control,
    agents,
    home,
    dispatcherId,
    conf: join(home, 'ctrl-exec.conf'),
    command,
    /** The old dispatcher, whose files nobody has changed. */
    old: () => {
      expect(treeDigest(join(root, 'control'))).toEqual(before);
      return legacyDispatcher({ version, identity, dispatcherId: control.dispatcherId });
    },
    /** `run` by the new dispatcher; exit, output and error of each agent. */
    async hello(...hosts: readonly AgentHost[]) {
      const names = hosts.map(({ name }) => name);
      const { stdout, stderr } = await command('run', ...names, 'hello', '--json', '--', 'you');
      if (stdout === '') throw new Error(stderr);
      const { results } = JSON.parse(stdout) as {
        results: { exit: number; stdout: string; error?: string }[];
      };
      return results.map(({ exit, stdout: out, error }) => error ?? `${exit} ${out}`);
    },
    async listed() {
      const { stdout } = await command('list-agents', '--json');
      const { agents: records } = JSON.parse(stdout) as {
        agents: { name: string; state: string; signed: boolean | null }[];
      };
      return Object.fromEntries(records.map(({ name, state, signed }) => [name, { state, signed }]));
    },
  };
}

const ok = '0 hello you\n';
const fine = (ended: Awaited<ReturnType<typeof run>>) => {
  expect(ended, ended.stdout + ended.stderr).toMatchObject({ code: 0 });
  return ended;
};

describe.each(['0.8', '0.12'] as const)('a fleet of %s, control host first', (version) => {
  const fleet = shared(() => installation(version));

  step('Take over the control host', async () => {
    const { agents, command, control, conf, hello, listed, old } = fleet();
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

  step('Move an agent host', async () => {
    const { agents, command, hello, listed, old } = fleet();
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
    expect(await hello(one, two)).toEqual([ok, ok]);
    expect(await old().ping('127.0.0.1', one.port)).toMatchObject({ status: 'ok' });
    await move();
    expect(await hello(one, two)).toEqual([ok, ok]);
  });

  step('Close the door behind the last agent', async () => {
    const { agents, command, conf, hello, listed } = fleet();
    const [one, two] = agents;
    const text = readFileSync(conf, 'utf8');
    const closeDoor = () => writeFileSync(conf, text.replace('allow_legacy_agents = *\n', ''));
    closeDoor();
    expect(await hello(two)).toEqual(['unverified result']);
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
});

describe.each(['0.8', '0.12'] as const)('a fleet of %s, agents first', (version) => {
  const fleet = shared(() => installation(version));

  step('Move an agent host under an old dispatcher', async () => {
    const { agents, old } = fleet();
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

  step('Take over the control host of moved agents', async () => {
    const { agents, command, control, conf, dispatcherId, hello, home, listed, old } = fleet();
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
    const signing = join(one.home, 'state/signing-dispatchers');
    expect(readFileSync(signing, 'utf8')).toBe(`${dispatcherId}\n`);
    await one.stop();
    writeFileSync(signing, '');
    const daemon = await one.startNew();
    expect(await asked()).toMatchObject({ exit: 0, stdout: 'hello back\n' });
    expect(await hello(one, two)).toEqual([ok, ok]);
    expect(await asked()).toMatchObject({ exit: -1 });
    // The same without a restart.
    writeFileSync(signing, '');
    daemon.child.kill('SIGHUP');
    await expect.poll(async () => (await asked())['exit']).toBe(0);
    expect(await hello(one, two)).toEqual([ok, ok]);
  });

  step('Close the door on the agents', async () => {
    const { agents, hello, old } = fleet();
    const [one] = agents;
    const conf = join(one.home, 'agent.conf');
    const signing = join(one.home, 'state/signing-dispatchers');
    const text = readFileSync(conf, 'utf8');
    expect(text).toMatch(/^accept_legacy_dispatchers = yes$/m);
    const asked = async () => (await old().ping('127.0.0.1', one.port))['status'];
    const reload = async (conf_: string) => {
      await one.stop();
      writeFileSync(conf, conf_);
      // As if nobody had signed: the door alone is what keeps it out.
      writeFileSync(signing, '');
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
});

describe('the page on moving a fleet', () => {
  afterAll(() => expect([...taken].sort()).toEqual([...steps].sort()));
  it('has steps in both orders', () => expect(steps.length).toBeGreaterThanOrEqual(6));
});
