import { constants } from 'node:fs';
import { chmod, lstat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { okAsync, type ResultAsync } from 'neverthrow';
import { type CertificateId, keyFileName } from '../../../domain/deploy/certificate-id.js';
import type { PullKeys } from '../../../ports/pull-keys.js';
import { unless } from '../../shared/system-code.js';
import { ensureDirectory, replaceFile, syncDirectory } from '../atomic-write.js';
import type { FollowedPath } from '../followed-path.js';
import { readUpTo, systemError, withRegular } from '../regular-file.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import { linked, requireOwn, requireTrustedContents, trustedDirectory } from '../trusted-directory.js';

/** A private key has a few KiB at most. */
const maxKey = 64 * 1024;

/**
 * Keys as files `<id>.key`, 0600, in a directory of their own, 0700; former ones in its subdirectory `former`, which no id
 * can name, for the names of keys end in `.key`. Directories are opened anew for every call, and judged.
 */
export function filePullKeys(options: { readonly directory: string }): PullKeys {
  const present: Place = { path: resolve(options.directory), mayBeLink: true };
  const former: Place = { path: join(present.path, 'former'), mayBeLink: false };
  const closed = () => closedDirectory(present).andThrough(() => closedDirectory(former));

  const load: PullKeys['load'] = (id) =>
    readKey(present, id).andThen((now) =>
      readKey(former, id).map((before) => ({ present: now, former: before })),
    );

  return {
    prepare: () =>
      closed()
        .andThrough(() => attempt(present.path, 'use', () => inDirectory(present, requireTrustedContents)))
        .map((tightenedFrom) => ({ tightenedFrom })),
    load,
    // What is replaced is judged, too: a file keeps its owner.
    put: (id, pem) =>
      closed()
        .andThen(() => load(id))
        .andThen((before) =>
          before.present === undefined ? okAsync(undefined) : writeKey(former, id, before.present),
        )
        .andThen(() => writeKey(present, id, pem)),
    forgetFormer: (id) =>
      attempt(join(former.path, keyFileName(id)), 'remove', async () => {
        const removed = inDirectory(former, async ({ reference }) => {
          await unlink(join(reference, keyFileName(id)));
          const synced = await syncDirectory(reference);
          if (synced.isErr()) throw systemError(synced.error.reason);
        });
        await unless(['ENOENT'], removed);
      }),
  };
}

/** A directory of keys. Behind a link in the key directory there would be somebody else's. */
interface Place {
  readonly path: string;
  readonly mayBeLink: boolean;
}

/** Does something with a directory that nobody else decides about. */
async function inDirectory<T>(
  { path, mayBeLink }: Place,
  use: (directory: FollowedPath) => Promise<T>,
): Promise<T> {
  // defence: former-keys-are-not-behind-a-link
  if (!mayBeLink && (await lstat(path)).isSymbolicLink()) throw linked(path);
  const directory = trustedDirectory(path);
  try {
    return await use(directory);
  } finally {
    directory.close();
  }
}

/** Makes a directory, or closes it to others; answers with the mode that was too wide. */
const closedDirectory = (place: Place): ResultAsync<number | undefined, FileFailure> =>
  ensureDirectory(place.path, 0o700).andThen(() =>
    attempt(place.path, 'use', () =>
      inDirectory(place, async ({ stats, reference }) => {
        const mode = stats.mode & 0o7777;
        if ((mode & 0o077) === 0) return undefined;
        await chmod(reference, 0o700);
        return mode;
      }),
    ),
  );

const writeKey = (place: Place, id: CertificateId, pem: string): ResultAsync<void, FileFailure> => {
  const path = join(place.path, keyFileName(id));
  return attempt(path, 'write', () =>
    inDirectory(place, async ({ reference }) => {
      const content = new TextEncoder().encode(pem);
      const written = await replaceFile(join(reference, keyFileName(id)), content, 0o600);
      if (written.isErr()) throw systemError(written.error.reason);
    }),
  );
};

/** Not by way of a link: whoever could put one there could show this agent another's key. */
function readKey(place: Place, id: CertificateId): ResultAsync<string | undefined, FileFailure> {
  const path = join(place.path, keyFileName(id));
  const read = () =>
    inDirectory(place, ({ reference }) =>
      withRegular(join(reference, keyFileName(id)), constants.O_RDONLY, async (handle, stats) => {
        requireOwn(path, stats);
        return new TextDecoder().decode(await readUpTo(handle, maxKey));
      }),
    );
  return attempt(path, 'read', () => unless(['ENOENT'], read())).mapErr((error) =>
    error.reason === 'ELOOP' ? systemFailure(path, 'read', 'ELOOP', linked(path).message) : error,
  );
}
