import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ResultAsync } from 'neverthrow';
import type {
  DeploymentJournal,
  DeploymentRecord,
  PendingDeployment,
  UnusableDeployment,
} from '../../../ports/deployment-journal.js';
import { syncDirectory as sync, writeFile } from '../../shared/durable-file.js';
import { bestEffort, unless } from '../../shared/system-code.js';
import { ownerIsThere, ownerToken } from '../../shared/temporary.js';
import { ensureDirectory, syncDirectory } from '../atomic-write.js';
import { readRegular } from '../regular-file.js';
import { attempt, type FileFailure } from '../system-failure.js';
import { requireTrustedContents, trustedDirectory } from '../trusted-directory.js';
import { readRecord, recordedFiles, recordText } from './deployment-record.js';

/** While a deployment is pending its record has the one name, as a backup the other. */
const pendingName = 'pending.json';
const backupName = 'deployment.json';
/** As many bytes as reloads. */
const reloadName = 'reloading';
const appending = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND;
const largestRecord = 1024 * 1024;
const setName = /^(\d{8})-(.+?)(\.partial)?$/;

/**
 * Keeps every deployment in a directory of its own: `<first file>-<hash of the paths>/<number>-<owner token>`, with the
 * record and, numbered, what the files held. All of it is 0700 and 0600.
 */
export function fileDeploymentJournal(options: { readonly directory: string }): DeploymentJournal {
  const at = (id: string, ...names: string[]) => join(options.directory, id, ...names);

  return {
    begin: (record) => {
      const key = keyOf(record);
      return ownDirectory(options.directory)
        .andThen(() => ownDirectory(at(key)))
        .andThen(() => attempt(at(key), 'write', () => supersede(at(key))))
        .andThen((number) => {
          const id = `${key}/${String(number).padStart(8, '0')}-${ownerToken()}`;
          return attempt(at(id), 'write', () => write(`${at(id)}.partial`, at(id), record))
            .andThen(() => syncDirectory(at(key)))
            .map(() => id);
        });
    },
    noteReload: (id) =>
      attempt(at(id, reloadName), 'write', () =>
        writeFile(at(id, reloadName), '+', { flags: appending }),
      ).andThen(() => syncDirectory(at(id))),
    end: (id, backups) =>
      attempt(at(id), 'write', () => rename(at(id, pendingName), at(id, backupName)))
        .andThen(() => syncDirectory(at(id)))
        .andThen(() => ResultAsync.fromSafePromise(prune(at(keyIn(id)), backups))),
    forget: (id) =>
      attempt(at(id), 'remove', async () => {
        await unless(['ENOENT'], rename(at(id, pendingName), at(id, backupName)));
        await rm(at(id), { recursive: true, force: true });
        await bestEffort(rmdir(at(keyIn(id))));
      }),
    pending: () =>
      attempt(options.directory, 'list', async () => {
        const names = await unless(['ENOENT'], readdir(options.directory));
        // defence: journal-directory-is-judged
        if (names !== undefined) trustedDirectory(options.directory).close();
        const found = (names ?? []).toSorted().map((key) => pendingIn(options.directory, key));
        return (await Promise.all(found)).flat();
      }),
    wrote: (path, after) =>
      attempt(options.directory, 'read', async () => {
        for (const key of (await unless(['ENOENT'], readdir(options.directory))) ?? [])
          for (const { name } of await setsIn(at(key))) {
            const text = await unless(['ENOENT'], readRegular(at(key, name, backupName), largestRecord));
            const files = text === undefined ? [] : recordedFiles(new TextDecoder().decode(text));
            if (files.some((file) => file.path === path && file.after === after)) return true;
          }
        return false;
      }),
    location: (id) => at(id),
  };
}

const ownDirectory = (path: string): ResultAsync<void, FileFailure> =>
  ensureDirectory(path, 0o700).andThen(() =>
    attempt(path, 'use', async () => trustedDirectory(path).close()),
  );

const keyIn = (id: string) => id.split('/', 1)[0] ?? '';

function keyOf({ files }: DeploymentRecord): string {
  const paths = files.map(({ path }) => path);
  const hash = createHash('sha256').update(JSON.stringify(paths.toSorted())).digest('hex').slice(0, 16);
  const name = basename(paths[0] ?? '')
    .replace(/[^A-Za-z0-9._-]/g, '_')
    .replace(/^\.+/, '_');
  return `${name.slice(0, 60)}-${hash}`;
}

interface BackupSet {
  readonly name: string;
  readonly number: number;
  readonly token: string;
  readonly partial: boolean;
}

/** Newest first. */
async function setsIn(directory: string): Promise<BackupSet[]> {
  const names = (await unless(['ENOENT', 'ENOTDIR'], readdir(directory))) ?? [];
  return names
    .flatMap((name) => {
      const [, number, token = '', partial] = setName.exec(name) ?? [];
      if (number === undefined) return [];
      return [{ name, number: Number(number), token, partial: partial !== undefined }];
    })
    .toSorted((a, b) => b.number - a.number);
}

const exists = async (path: string): Promise<boolean> => (await unless(['ENOENT'], stat(path))) !== undefined;

/** Turns what is pending into backups; answers with the next number. */
async function supersede(directory: string): Promise<number> {
  const sets = await setsIn(directory);
  for (const { name } of sets)
    await unless(['ENOENT'], rename(join(directory, name, pendingName), join(directory, name, backupName)));
  return (sets[0]?.number ?? 0) + 1;
}

/** It has its name once all of it is there and durable. */
async function write(partial: string, final: string, record: DeploymentRecord): Promise<void> {
  await mkdir(partial, { mode: 0o700 });
  try {
    for (const [index, { before }] of record.files.entries())
      if (before !== undefined) await writeFile(join(partial, String(index)), before.content);
    await writeFile(join(partial, pendingName), recordText(record));
    await sync(partial);
    await rename(partial, final);
  } catch (thrown) {
    await bestEffort(rm(partial, { recursive: true, force: true }));
    throw thrown;
  }
}

async function prune(directory: string, backups: number): Promise<void> {
  let kept = 0;
  for (const { name, partial } of await setsIn(directory)) {
    if (partial || (await exists(join(directory, name, pendingName)))) continue;
    kept += 1;
    if (kept > backups) await bestEffort(rm(join(directory, name), { recursive: true, force: true }));
  }
  await bestEffort(rmdir(directory));
}

async function pendingIn(
  directory: string,
  key: string,
): Promise<(PendingDeployment | UnusableDeployment)[]> {
  const path = (...names: string[]) => join(directory, key, ...names);
  const unusable = (id: string, { message: problem }: FileFailure) => ({ id, problem });
  const abandoned = await attempt(path(), 'use', async () => {
    const trusted = trustedDirectory(path());
    try {
      // defence: journal-records-are-judged
      await requireTrustedContents(trusted);
    } finally {
      trusted.close();
    }
    const names: string[] = [];
    for (const { name, token, partial } of (await setsIn(path())).toReversed()) {
      if (ownerIsThere(token) === 'yes') continue;
      if (partial) await rm(path(name), { recursive: true, force: true });
      else if (await exists(path(name, pendingName))) names.push(name);
    }
    return names;
  });
  if (abandoned.isErr()) return abandoned.error.reason === 'ENOTDIR' ? [] : [unusable(key, abandoned.error)];
  return Promise.all(
    abandoned.value.map(async (name) => {
      const id = `${key}/${name}`;
      const file = path(name, pendingName);
      const found = await attempt(file, 'read', () => readRegular(file, largestRecord))
        .andThen((bytes) => readRecord(new TextDecoder().decode(bytes), path(name), pendingName))
        .andThen((record) =>
          attempt(path(name), 'read', () => reloadsIn(path(name))).map((reloads) => ({
            id,
            record,
            reloads,
          })),
        );
      return found.match(
        (pending): PendingDeployment | UnusableDeployment => pending,
        (error) => unusable(id, error),
      );
    }),
  );
}

/** Version 0.1 noted one reload with a file without content. */
async function reloadsIn(set: string): Promise<number> {
  const noted = await unless(['ENOENT'], stat(join(set, reloadName)));
  return noted === undefined ? 0 : Math.max(1, noted.size);
}
