import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { freePort, run, type Started, start, temporaryDirectory } from '../commands/commands.js';
import { treeDigest } from '../commands/tree.js';
import { type LegacyAgent, type LegacyAgentOptions, startLegacyAgent } from './agent.js';
import { legacyDispatcher } from './dispatcher.js';
import { type LegacyAgentHost, legacyAgentHost, legacyControlHost } from './hosts.js';
import type { LegacyVersion } from './versions.js';

/** A host that runs the old agent or the new one, under the same address. */
export interface AgentHost {
  readonly name: string;
  readonly port: number;
  readonly old: LegacyAgentHost;
  readonly home: string;
  /** Ends whichever agent runs there. */
  stop(): Promise<void>;
  startOld(more?: Partial<LegacyAgentOptions>): Promise<LegacyAgent>;
  startNew(): Promise<Started>;
  command(...args: string[]): ReturnType<typeof run>;
}

/** A control host with two agents, as an installation of that version left them; and homes for the new one. */
export async function oldFleet(version: LegacyVersion) {
  const root = temporaryDirectory();
  const control = await legacyControlHost(join(root, 'control'), { version });
  const dispatcherId = version === '0.8' ? 'legacy' : control.dispatcherId;

  const agentHost = async (name: string): Promise<AgentHost> => {
    const port = await freePort();
    const old = await legacyAgentHost(join(root, name), {
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
      async startOld(more = {}) {
        const agent = await startLegacyAgent({
          version,
          identity: old.agent,
          trusted: readFileSync(old.trustFile, 'utf8').split('\n'),
          scripts: new Map([['hello', ({ args }) => ({ exit: 0, stdout: `hello ${args[0] ?? ''}\n` })]]),
          hostName: name,
          port,
          ...more,
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
      return legacyDispatcher({ version, identity: control.dispatcher, dispatcherId: control.dispatcherId });
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
