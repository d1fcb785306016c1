import { randomBytes } from 'node:crypto';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Job, JobHeader, JobKey } from '../../../ports/jobs.js';
import { codeOf } from '../../shared/system-code.js';
import { inspect } from './inspect.js';
import { directoryName, isDirectoryName, prepareDirectory, removeWhole, unlessMissing } from './layout.js';
import { type EndRecord, type JobRecord, readJob, stateOfEnd } from './records.js';

/** A job that is kept, as far as it was looked at. */
interface Kept {
  /** Undefined: its record is damaged. */
  readonly record: JobRecord | undefined;
  end: EndRecord | undefined;
}

/** The jobs in a directory: read once, then looked at again as long as they run. */
export interface Shelf {
  readonly directory: string;
  pathOf(name: string): string;
  /** A name beside the jobs for what is being made or removed. */
  aside(): string;
  /** Takes note of what others have put there or removed. */
  refresh(): Promise<void>;
  size(): number;
  /** How many are of an owner; those whose record is damaged are nobody's. */
  sizeOf(owner: string): number;
  has(name: string): boolean;
  /** How it ended; undefined: it runs, or is not there. */
  look(name: string): Promise<EndRecord | undefined>;
  /** The running ones among those that were running when they were looked at last. */
  running(): Promise<readonly JobHeader[]>;
  job(key: JobKey): Promise<Job | undefined>;
  /** Removes those that ended before, and what was left aside by whoever is gone; returns how many jobs. */
  purge(finishedBefore: number): Promise<number>;
  forget(name: string): void;
}

const damaged = (finishedAt: number): EndRecord => ({
  status: 'lost',
  finishedAt,
  reason: 'its record is damaged',
  stdout: { total: 0, segments: [] },
  stderr: { total: 0, segments: [] },
});

const asidePrefix = '.aside-';
const headerOf = ({ owner, reqid, script, startedAt }: JobRecord): JobHeader => ({
  owner,
  reqid,
  script,
  startedAt,
});

export const openShelf = async (directory: string, killAfter: number): Promise<Shelf> => {
  await prepareDirectory(directory);
  const kept = new Map<string, Kept>();
  const looking = new Map<string, Promise<EndRecord | undefined>>();
  const pathOf = (name: string): string => join(directory, name);
  const aside = (): string => pathOf(`${asidePrefix}${Date.now()}-${randomBytes(8).toString('hex')}`);

  const load = async (name: string): Promise<void> => {
    const record = await readJob(pathOf(name)).catch((thrown) => {
      // What is short of something may be read later; what cannot be read at all is of no more use than a damaged one.
      if (['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'].includes(codeOf(thrown))) throw thrown;
      return 'damaged' as const;
    });
    // Without a record it is none of ours: a job has it from the beginning.
    if (record === undefined) return;
    if (record !== 'damaged') return void kept.set(name, { record, end: undefined });
    const since = await unlessMissing(lstat(pathOf(name)));
    if (since !== undefined) kept.set(name, { record: undefined, end: damaged(Math.floor(since.mtimeMs)) });
  };

  const look = async (name: string): Promise<EndRecord | undefined> => {
    const found = kept.get(name);
    if (found?.record === undefined || found.end !== undefined) return found?.end;
    const before = looking.get(name);
    if (before !== undefined) return before;
    const { record } = found;
    const looked = new Promise<EndRecord | undefined>((resolve, reject) => {
      // A program that has to be ended takes its time: until then the job runs.
      inspect(pathOf(name), record, killAfter, () => resolve(undefined))
        .finally(() => looking.delete(name))
        .then((end) => {
          found.end ??= end;
          resolve(found.end);
        }, reject);
    });
    looking.set(name, looked);
    return looked;
  };

  const refresh = async (): Promise<void> => {
    const names = (await readdir(directory)).filter(isDirectoryName);
    const present = new Set(names);
    for (const name of kept.keys()) if (!present.has(name)) kept.delete(name);
    for (const name of names) if (!kept.has(name)) await load(name);
  };

  const removeAsides = async (): Promise<void> => {
    const day = 86_400_000;
    for (const name of await readdir(directory)) {
      const [, made] = new RegExp(`^\\${asidePrefix}(\\d+)-[0-9a-f]{16}$`).exec(name) ?? [];
      if (made !== undefined && Math.abs(Date.now() - Number(made)) > day)
        await rm(pathOf(name), { recursive: true, force: true });
    }
  };

  await refresh();
  return {
    directory,
    pathOf,
    aside,
    refresh,
    size: () => kept.size,
    sizeOf: (owner) => [...kept.values()].filter(({ record }) => record?.owner === owner).length,
    has: (name) => kept.has(name),
    look,
    async running() {
      const found: JobHeader[] = [];
      for (const [name, { record }] of kept)
        if (record !== undefined && (await look(name)) === undefined) found.push(headerOf(record));
      return found.sort((one, other) => one.startedAt - other.startedAt);
    },
    async job(key) {
      const name = directoryName(key);
      if (!kept.has(name)) await load(name);
      const found = kept.get(name);
      if (found === undefined) return undefined;
      const header =
        found.record === undefined ? { ...key, script: '', startedAt: 0 } : headerOf(found.record);
      const end = await look(name);
      return end === undefined
        ? { ...header, status: 'running' }
        : { ...header, ...(await stateOfEnd(pathOf(name), end)) };
    },
    async purge(finishedBefore) {
      await refresh();
      let purged = 0;
      for (const name of [...kept.keys()]) {
        const end = await look(name);
        if (end === undefined || end.finishedAt >= finishedBefore) continue;
        if (await removeWhole(pathOf(name), aside())) purged += 1;
        kept.delete(name);
      }
      await removeAsides();
      return purged;
    },
    forget: (name) => void kept.delete(name),
  };
};
