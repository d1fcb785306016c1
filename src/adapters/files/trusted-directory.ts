import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { type FileFault, fileFault } from '../../domain/core/file-trust.js';
import { unless } from '../shared/system-code.js';
import { type FollowedPath, followPath, ownAccounts } from './followed-path.js';
import { systemError } from './regular-file.js';
import { ExplainedFailure } from './system-failure.js';

const lookFirst = 'other accounts may have changed what is in it: look at it first; then';

const refusal = ({ reason, heal }: FileFault) =>
  new ExplainedFailure('EPERM', `${reason}: ${lookFirst} \`${heal}\``);

/** As root everything counts. Others have a group of their own mostly, and with umask 002 it can write what they make. */
const isRefused = ({ groupOnly }: FileFault): boolean => groupOnly !== true || process.geteuid?.() === 0;

/** Of a link where none may be. */
export const linked = (path: string) =>
  new ExplainedFailure(
    'ELOOP',
    `${path} is a link, and may lead to files of another account: look where, then \`rm ${path}\``,
  );

/** As files are judged elsewhere, but a sticky directory counts as any other: what is put into it is believed. */
function ownFault(path: string, stats: Stats): FileFault | undefined {
  const kind = stats.isDirectory() ? 'directory' : 'file';
  return fileFault({ path, kind, uid: stats.uid, mode: stats.mode & 0o777 }, ownAccounts());
}

/** Throws if an account other than root and this one can change where a path leads. What is there is not judged. */
export function requireTrustedWay({ path, faults }: FollowedPath): void {
  const fault = faults.find((each) => each.path !== path && isRefused(each));
  // defence: directories-on-the-way-are-judged
  if (fault !== undefined) throw refusal(fault);
}

/** Opens a directory in which nobody but root and this account can put, rename or remove anything. To be closed. Throws. */
export function trustedDirectory(path: string): FollowedPath {
  const directory = followPath(path);
  try {
    if (!directory.stats.isDirectory()) throw systemError('ENOTDIR');
    requireTrustedWay(directory);
    requireOwn(directory.path, directory.stats);
    return directory;
  } catch (thrown) {
    directory.close();
    throw thrown;
  }
}

/** Throws if another account owns or can write what is there. */
export function requireOwn(path: string, stats: Stats): void {
  const fault = ownFault(path, stats);
  // defence: own-files-are-judged
  if (fault !== undefined && isRefused(fault)) throw refusal(fault);
}

/** Throws if something below a trusted directory is a link, belongs to somebody else, or can be written by others. */
export async function requireTrustedContents({
  path,
  reference,
}: Pick<FollowedPath, 'path' | 'reference'>): Promise<void> {
  for (const name of (await unless(['ENOENT'], readdir(reference))) ?? []) {
    const [shown, real] = [`${path}/${name}`, `${reference}/${name}`];
    const stats = await unless(['ENOENT'], lstat(real));
    if (stats === undefined) continue;
    // defence: secrets-have-no-links
    if (stats.isSymbolicLink()) throw linked(shown);
    requireOwn(shown, stats);
    if (stats.isDirectory()) await requireTrustedContents({ path: shown, reference: real });
  }
}
