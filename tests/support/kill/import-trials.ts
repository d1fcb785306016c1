import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { start } from '../commands/commands.js';
import { treeDigest } from '../commands/tree.js';
import {
  type LegacyAgentHost,
  type LegacyControlHost,
  legacyAgentHost,
  legacyControlHost,
} from '../legacy/hosts.js';
import { agent, control, copy, rowsOf, succeeds, type Templates } from './fleet.js';
import { isInterrupted, leftovers, lookAtAgent, lookAtDispatcher } from './looks.js';
import type { Round, Trial } from './rounds.js';

interface Installations {
  readonly directory: string;
  readonly before: readonly string[];
  readonly control: LegacyControlHost;
  readonly agent: LegacyAgentHost;
}

const made = new Map<string, Promise<Installations>>();

/** A control host with two agents and one of them, of the older version; made once, and never changed. */
function installations(templates: Templates): Promise<Installations> {
  const directory = `${templates.bare}-legacy`;
  const present = made.get(directory) ?? installed(directory);
  made.set(directory, present);
  return present;
}

async function installed(directory: string): Promise<Installations> {
  const old = await legacyControlHost(join(directory, 'control'), { version: '0.9' });
  for (const name of ['web-01', 'web-02']) old.register(name);
  const options = { version: '0.9', control: old, name: 'web-01' } as const;
  const host = await legacyAgentHost(join(directory, 'agent'), options);
  return { directory, before: treeDigest(directory), control: old, agent: host };
}

const nothingLeft = (home: string): void => {
  // What belongs to the journal of runs is cleared by the agent that opens it next; the lock of a process that is dead, by who
  // takes it next: an import that finds nothing to do takes none.
  const cleared = /^state\/(runs\/|identity\.journal\.lock)/;
  const left = (existsSync(home) ? leftovers(home) : []).filter((path) => !cleared.test(path));
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
};

/** Once more it completes what is missing, and a third time it finds nothing to do; the other installation is as it was. */
async function completes(
  home: string,
  { before, directory }: Installations,
  command: () => ReturnType<typeof control>,
): Promise<void> {
  await succeeds(command());
  const { stdout } = await succeeds(command());
  if (!/^Nothing to import/m.test(stdout)) throw new Error(`there was something left: ${stdout}`);
  if (treeDigest(directory).join('\n') !== before.join('\n'))
    throw new Error('the other installation was changed');
  nothingLeft(home);
}

/** Imports into a home that has nothing yet. */
export function importTrials(templates: () => Templates): readonly Trial[] {
  return [
    {
      name: 'import-state of a control host',
      weight: 20,
      prepare: async (place): Promise<Round> => {
        const from = await installations(templates());
        const home = copy(templates().unpaired, place, 'dispatcher');
        const args = ['import-state', from.control.directory];
        return {
          writes: [home, join(home, 'state')],
          begin: (options) => ({ command: start('ctrl-exec', args, { home, ...options }) }),
          judge: async () => {
            const interrupted = isInterrupted(home);
            const { stdout } = await control(home, 'ca-fingerprint');
            if (interrupted && isInterrupted(home))
              throw new Error('the interrupted change is not completed');
            const { ca, own } = lookAtDispatcher(home);
            if (ca && stdout.trim() !== ca.certificate.fingerprint256)
              throw new Error('another CA is in force');
            if (ca && readFileSync(join(home, 'ca.key'), 'utf8') !== from.control.ca.key)
              throw new Error('the key of the CA is not the imported one');
            if (!own) return 'old';
            if (own[0].certificate.raw.toString('base64') === '') throw new Error('no certificate');
            return (await rowsOf(home)).length === 2 ? 'new' : 'old';
          },
          again: async () => {
            await completes(home, from, () => control(home, ...args));
            const { own } = lookAtDispatcher(home);
            if (!own || readFileSync(join(home, 'ctrl-exec.key'), 'utf8') !== from.control.dispatcher.key)
              throw new Error('the identity is not the imported one');
            const names = (await rowsOf(home)).map(({ name }) => name);
            if (names.join() !== 'web-01,web-02') throw new Error(`registered: ${names.join()}`);
          },
        };
      },
    },
    {
      name: 'import-state of an agent',
      weight: 20,
      prepare: async (place): Promise<Round> => {
        const from = await installations(templates());
        const home = copy(templates().bare, place, 'agent');
        const args = ['import-state', from.agent.directory, '--accept-legacy-dispatchers'];
        return {
          writes: [home, join(home, 'state')],
          begin: (options) => ({ command: start('ctrl-exec-agent', args, { home, ...options }) }),
          judge: async () => {
            // Whoever reads completes an interrupted change.
            await agent(home, 'pairing-status');
            if (!existsSync(join(home, 'agent.crt'))) return 'old';
            lookAtAgent(home);
            return 'new';
          },
          again: async () => {
            await completes(home, from, () => agent(home, ...args));
            if (readFileSync(join(home, 'agent.key'), 'utf8') !== from.agent.agent.key)
              throw new Error('the key is not the imported one');
            const { stdout } = await succeeds(agent(home, 'pairing-status'));
            if (!stdout.includes('Paired as web-01')) throw new Error(stdout);
          },
        };
      },
    },
  ];
}
