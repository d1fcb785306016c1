import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  type Stats,
} from 'node:fs';
import { resolve } from 'node:path';
import { type FileFault, fileFault } from '../../domain/core/file-trust.js';

/** A path that was followed step by step, and what is there. It holds a descriptor until it is closed. */
export interface FollowedPath {
  /** Without links. */
  readonly path: string;
  readonly stats: Stats;
  /**
   * A path to this very thing, whatever has become of its name: `<reference>` opens it, and of a directory `<reference>/name`
   * is what `openat` gives. It holds within this process and until `close`.
   */
  readonly reference: string;
  /** Who else decides what is there: by the thing itself, a directory on the way or a link. In the order of the way. */
  readonly faults: readonly FileFault[];
  close(): void;
}

/** Opens a thing without acting on it: neither a device nor a pipe notices. Node has no name for it. */
const O_PATH = 0o10000000;
const mostLinks = 40;

/** Without /proc a path can only be named, and what is named may be exchanged in between. */
const hasDescriptorPaths = existsSync('/proc/self/fd');

/** A thing by its name, whatever it is; a link is the link itself. To be left. */
export interface Step {
  readonly descriptor: number | undefined;
  readonly reference: string;
  readonly stats: Stats;
}

/** Throws what the system says. */
export const enter = (path: string): Step => {
  if (!hasDescriptorPaths) return { descriptor: undefined, reference: path, stats: lstatSync(path) };
  const descriptor = openSync(path, O_PATH | constants.O_NOFOLLOW);
  return { descriptor, reference: `/proc/self/fd/${descriptor}`, stats: fstatSync(descriptor) };
};

export const leave = ({ descriptor }: Step): void => {
  if (descriptor !== undefined) closeSync(descriptor);
};

const kindOf = (stats: Stats) =>
  stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'link' : stats.isFile() ? 'file' : 'other';

/** The accounts whose files are believed: root, and the one that this process runs as, named first where it is not root. */
export const ownAccounts = (): readonly number[] => [...new Set([process.geteuid?.() ?? 0, 0])];

/**
 * Follows a path from `/` on, links too, and judges everything that is passed: the directories of the path, those of what a link
 * leads to, each link by its owner, and what is there. Throws what the system says (`ENOENT`, `ENOTDIR`,
 * `ELOOP`, …), with the `faults` of what was passed. It blocks for some microseconds a step.
 * @param owners user ids that may own what is passed
 */
export function followPath(path: string, owners: readonly number[] = ownAccounts()): FollowedPath {
  const faults = new Map<string, FileFault>();
  let rest = resolve(path).split('/');
  let names: string[] = [];
  let links = 0;
  let here = enter('/');
  const judge = (place: string, { stats }: Step) => {
    const fault = fileFault(
      { path: place, kind: kindOf(stats), uid: stats.uid, mode: stats.mode & 0o7777 },
      owners,
    );
    if (fault !== undefined) faults.set(place, fault);
  };
  try {
    judge('/', here);
    for (let name = rest.shift(); name !== undefined; name = rest.shift()) {
      if (name === '' || name === '.') continue;
      if (!here.stats.isDirectory()) throw systemError('ENOTDIR');
      const next = enter(`${here.reference}/${name}`);
      const place = name === '..' ? names.slice(0, -1) : [...names, name];
      const isOnTheWay = rest.some((later) => later !== '');
      // defence: every-step-is-judged
      if (kindOf(next.stats) !== 'other' || !isOnTheWay) judge(`/${place.join('/')}`, next);
      if (next.stats.isSymbolicLink()) {
        leave(next);
        links += 1;
        if (links > mostLinks) throw systemError('ELOOP');
        const target = readlinkSync(`${here.reference}/${name}`);
        rest = [...target.split('/'), ...rest];
        if (!target.startsWith('/')) continue;
        const root = enter('/');
        leave(here);
        here = root;
        names = [];
      } else {
        leave(here);
        here = next;
        names = place;
      }
    }
  } catch (thrown) {
    leave(here);
    throw Object.assign(thrown as Error, { faults: [...faults.values()] });
  }
  const there = here;
  return {
    path: `/${names.join('/')}`,
    stats: there.stats,
    reference: there.reference,
    faults: [...faults.values()],
    close: () => leave(there),
  };
}

const systemError = (code: string) => Object.assign(new Error(code), { code });
