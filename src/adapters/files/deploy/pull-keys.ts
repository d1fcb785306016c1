import { constants } from 'node:fs';
import { chmod, lstat, open, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { okAsync, type ResultAsync } from 'neverthrow';
import { type CertificateId, keyFileName } from '../../../domain/deploy/certificate-id.js';
import type { PullKeys } from '../../../ports/pull-keys.js';
import { ensureDirectory, replaceFile, syncDirectory } from '../atomic-write.js';
import { attempt, type FileFailure, systemFailure, unless } from '../system-failure.js';

/** A private key has a few KiB at most. */
const maxKey = 64 * 1024;

/**
 * Keys as files `<id>.key`, 0600, in a directory of their own, 0700; former ones in its subdirectory `former`, which no id
 * can name, for the names of keys end in `.key`.
 */
export function filePullKeys(options: { readonly directory: string }): PullKeys {
  const directory = resolve(options.directory);
  const formerDirectory = join(directory, 'former');
  const present = (id: CertificateId) => join(directory, keyFileName(id));
  const former = (id: CertificateId) => join(formerDirectory, keyFileName(id));
  const both = () =>
    closedDirectory(directory).andThen((tightenedFrom) =>
      closedDirectory(formerDirectory).map(() => ({ tightenedFrom })),
    );

  return {
    prepare: both,
    load: (id) =>
      readKey(present(id)).andThen((now) =>
        readKey(former(id)).map((before) => ({ present: now, former: before })),
      ),
    put: (id, pem) =>
      both()
        .andThen(() => readKey(present(id)))
        .andThen((before) => (before === undefined ? okAsync(undefined) : writeKey(former(id), before)))
        .andThen(() => writeKey(present(id), pem)),
    forgetFormer: (id) =>
      attempt(former(id), 'remove', async () => {
        const removed = await unless(
          ['ENOENT'],
          unlink(former(id)).then(() => true),
        );
        return removed === true;
      }).andThen((removed) => (removed ? syncDirectory(formerDirectory) : okAsync(undefined))),
  };
}

const writeKey = (path: string, pem: string) => replaceFile(path, new TextEncoder().encode(pem), 0o600);

/** Makes a directory, or closes it to others; answers with the mode that was too wide. */
function closedDirectory(directory: string): ResultAsync<number | undefined, FileFailure> {
  return ensureDirectory(directory, 0o700).andThen(() =>
    attempt(directory, 'close to others', async () => {
      const mode = (await stat(directory)).mode & 0o7777;
      if ((mode & 0o077) === 0) return undefined;
      await chmod(directory, 0o700);
      return mode;
    }),
  );
}

/** Not by way of a link: whoever could put one there could show this agent another's key. */
function readKey(path: string): ResultAsync<string | undefined, FileFailure> {
  return attempt(path, 'read', async () => {
    if ((await unless(['ENOENT'], lstat(path))) === undefined) return undefined;
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw Object.assign(new Error('not a file'), { code: 'EINVAL' });
      if (stats.size > maxKey) throw Object.assign(new Error('too large'), { code: 'EFBIG' });
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  }).mapErr((error) =>
    error.reason === 'ELOOP'
      ? systemFailure(path, 'read', 'ELOOP', 'it is a link, a file is expected')
      : error,
  );
}
