import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { start } from '../commands/commands.js';
import { control, copy, refuses, succeeds, type Templates } from './fleet.js';
import { type DispatcherLook, isInterrupted, leftovers, lookAtDispatcher } from './looks.js';
import type { Outcome, Round, Trial } from './rounds.js';

const nothingLeft = (home: string): void => {
  const left = leftovers(home);
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
};

/** Looks at the files as they are, lets a command that reads them look, and looks again. */
async function lookTwice(home: string, reader: () => Promise<unknown>): Promise<DispatcherLook> {
  const interrupted = isInterrupted(home);
  if (!interrupted) lookAtDispatcher(home);
  await reader();
  // Whoever completes a change also clears away what the killed process had prepared for it.
  if (interrupted) nothingLeft(home);
  if (isInterrupted(home)) throw new Error('whoever reads does not complete the interrupted change');
  return lookAtDispatcher(home);
}

/** Any command that needs the identity; nobody is there to answer. */
const useIdentity = (home: string) => control(home, 'ping', '127.0.0.1:1');

const requireIdNoted = (home: string): void => {
  if (!/^dispatcher_id = /m.test(readFileSync(join(home, 'ctrl-exec.conf'), 'utf8')))
    throw new Error('a mixture: there is an identity, and dispatcher_id is not written down');
};

/** The creation of CA and identity, and the replacement of an identity. */
export function setupTrials(templates: () => Templates): readonly Trial[] {
  const round = (
    home: string,
    args: readonly string[],
    rest: { judge: () => Promise<Outcome>; again: (outcome: Outcome) => Promise<void> },
  ): Round => ({
    writes: [home, join(home, 'state')],
    begin: (options) => ({ command: start('ctrl-exec', args, { home, ...options }) }),
    judge: rest.judge,
    again: async (outcome) => {
      await rest.again(outcome);
      nothingLeft(home);
    },
  });

  return [
    {
      name: 'setup-ca',
      weight: 20,
      prepare: async (place) => {
        const home = copy(templates().bare, place, 'dispatcher');
        let fingerprint = '';
        return round(home, ['setup-ca'], {
          judge: async () => {
            const { ca } = await lookTwice(home, async () => {
              fingerprint = (await control(home, 'ca-fingerprint')).stdout.trim();
            });
            if (fingerprint !== (ca?.certificate.fingerprint256 ?? ''))
              throw new Error(`ca-fingerprint says "${fingerprint}", the file is another`);
            return ca ? 'new' : 'old';
          },
          again: async (outcome) => {
            if (outcome === 'old') await succeeds(control(home, 'setup-ca'));
            else {
              await refuses(control(home, 'setup-ca'), /CA already/);
              if (lookAtDispatcher(home).ca?.certificate.fingerprint256 !== fingerprint)
                throw new Error('the CA was overwritten');
            }
            await succeeds(control(home, 'setup-ctrl-exec'));
            lookAtDispatcher(home);
          },
        });
      },
    },
    {
      name: 'setup-ctrl-exec',
      weight: 20,
      prepare: async (place) => {
        const home = copy(templates().authority, place, 'dispatcher');
        return round(home, ['setup-ctrl-exec'], {
          judge: async () => {
            const { own } = await lookTwice(home, () => useIdentity(home));
            if (own) requireIdNoted(home);
            return own ? 'new' : 'old';
          },
          again: async (outcome) => {
            if (outcome === 'new') await refuses(control(home, 'setup-ctrl-exec'), /identity already/);
            await succeeds(control(home, 'setup-ctrl-exec', ...(outcome === 'new' ? ['--yes'] : [])));
            lookAtDispatcher(home);
            requireIdNoted(home);
          },
        });
      },
    },
    {
      name: 'setup-ctrl-exec --yes',
      weight: 20,
      prepare: async (place) => {
        const home = copy(templates().dispatcher, place, 'dispatcher');
        const serials = () => lookAtDispatcher(home).own?.map(({ serial }) => serial) ?? [];
        const before = serials();
        return round(home, ['setup-ctrl-exec', '--yes'], {
          judge: async () => {
            const { own } = await lookTwice(home, () => useIdentity(home));
            const kept = own?.filter(({ serial }) => before.includes(serial)).length;
            if (kept === 1) throw new Error('a mixture: one of the two identities is the old one');
            return kept === 0 ? 'new' : 'old';
          },
          again: async () => {
            const present = serials();
            await succeeds(control(home, 'setup-ctrl-exec', '--yes'));
            if (serials().some((serial) => present.includes(serial)))
              throw new Error('the identity was not replaced');
          },
        });
      },
    },
  ];
}
