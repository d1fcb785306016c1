import { okAsync } from 'neverthrow';
import type {
  DeploymentJournal,
  DeploymentRecord,
  PendingDeployment,
} from '../../../src/ports/deployment-journal.js';

interface Entry {
  readonly pending: PendingDeployment;
  readonly key: string;
  readonly state: 'pending' | 'backup';
}

/** Keeps deployments as long as the process lives. `crash` makes those that are pending somebody else's. */
export const memoryDeploymentJournal = (): DeploymentJournal & {
  crash(): void;
  /** Ids of the backups, newest first. */
  backups(): readonly string[];
} => {
  const entries = new Map<string, Entry>();
  const abandoned = new Set<string>();
  let last = 0;
  const keyOf = ({ files }: DeploymentRecord) => JSON.stringify(files.map(({ path }) => path).toSorted());
  const update = (id: string, change: (entry: Entry) => Entry) => {
    const entry = entries.get(id);
    if (entry !== undefined) entries.set(id, change(entry));
  };
  const asBackup = (entry: Entry): Entry => ({ ...entry, state: 'backup' });
  const idsIn = (state: Entry['state']) =>
    [...entries].filter(([, entry]) => entry.state === state).map(([id]) => id);
  return {
    begin: (record) => {
      const key = keyOf(record);
      for (const [id, entry] of entries) if (entry.key === key) update(id, asBackup);
      last += 1;
      const id = `deployment-${last}`;
      entries.set(id, { pending: { id, record, reloads: 0 }, key, state: 'pending' });
      return okAsync(id);
    },
    noteReload: (id) => {
      update(id, (entry) => ({
        ...entry,
        pending: { ...entry.pending, reloads: entry.pending.reloads + 1 },
      }));
      return okAsync(undefined);
    },
    end: (id, backups) => {
      update(id, asBackup);
      const key = entries.get(id)?.key;
      const ofKey = idsIn('backup').filter((each) => entries.get(each)?.key === key);
      for (const outdated of ofKey.toReversed().slice(backups)) entries.delete(outdated);
      return okAsync(undefined);
    },
    forget: (id) => {
      entries.delete(id);
      return okAsync(undefined);
    },
    pending: () =>
      okAsync(
        idsIn('pending').flatMap((id) => {
          const entry = entries.get(id);
          return entry !== undefined && abandoned.has(id) ? [entry.pending] : [];
        }),
      ),
    wrote: (path, after) =>
      okAsync(
        idsIn('backup').some((id) =>
          entries.get(id)?.pending.record.files.some((file) => file.path === path && file.after === after),
        ),
      ),
    location: (id) => `${id} in memory`,
    crash: () => {
      for (const id of idsIn('pending')) abandoned.add(id);
    },
    backups: () => idsIn('backup').toReversed(),
  };
};
