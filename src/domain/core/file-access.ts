import { printable } from './names.js';
import { errorCode } from './thrown.js';

/** What is asked of the system to say who may. Each throws as `node:fs` does. */
export interface AccessCalls {
  readonly accessSync: (path: string, mode: number) => void;
  readonly statSync: (path: string) => { readonly uid: number; readonly gid: number; readonly mode: number };
  readonly readFileSync: (path: string, encoding: 'utf8') => string;
  /** Undefined where the system has no accounts. */
  readonly geteuid?: (() => number) | undefined;
}

const wanted = { read: 4, write: 2, search: 1 } as const;
type Wanted = keyof typeof wanted;

/**
 * Why the system denied this account a file, and who may: `/x/state belongs to root:root, mode 0700: run this as root (sudo)`. Names
 * the topmost thing that is in the way. Undefined for root, to whom other things are denied, and where nothing can be seen.
 */
export function whyDenied(path: string, calls: AccessCalls): string | undefined {
  if ((calls.geteuid?.() ?? 0) === 0) return undefined;
  const inTheWay = obstacle(path, calls);
  if (inTheWay === undefined) return undefined;
  const stats = attempt(() => calls.statSync(inTheWay.path));
  if (stats === undefined) return undefined;
  const owner = nameOf(stats.uid, '/etc/passwd', calls);
  const group = nameOf(stats.gid, '/etc/group', calls);
  const groupMay = ((stats.mode >> 3) & wanted[inTheWay.wanted]) !== 0 && stats.gid !== 0;
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
  return [
    `${inTheWay.path === path ? 'it' : printable(inTheWay.path, 1024)} belongs to ${owner}:${group}, mode ${mode}`,
    `run this as ${owner} (${stats.uid === 0 ? 'sudo' : `sudo -u ${/^\d/.test(owner) ? `'#${owner}'` : owner}`})`,
  ]
    .join(': ')
    .concat(groupMay ? `, or as a member of the group ${group}` : '');
}

/** The first directory on the way that cannot be searched, or what is there, or the directory that nothing can be put into. */
function obstacle(path: string, calls: AccessCalls): { path: string; wanted: Wanted } | undefined {
  const may = (place: string, what: Wanted) =>
    attempt(() => {
      calls.accessSync(place, wanted[what]);
      return true;
    }) ?? false;
  const isThere = (place: string) => attempt(() => calls.statSync(place)) !== undefined;
  const names = path.split('/').filter((name) => name !== '');
  let directory = '/';
  for (const [index, name] of names.entries()) {
    if (!may(directory, 'search')) return { path: directory, wanted: 'search' };
    const next = `${directory === '/' ? '' : directory}/${name}`;
    if (index === names.length - 1 || !isThere(next)) break;
    directory = next;
  }
  if (isThere(path) && !may(path, 'read')) return { path, wanted: 'read' };
  if (!may(directory, 'write')) return { path: directory, wanted: 'write' };
  return isThere(path) && !may(path, 'write') ? { path, wanted: 'write' } : undefined;
}

/** The lines of a text like /etc/passwd or /etc/group. */
const accounts = (database: string): readonly (readonly string[])[] =>
  database.split('\n').map((line) => line.split(':'));

/** The number of an account by a text like /etc/passwd or /etc/group; a number is its own. Undefined: the text does not know it. */
export function accountNumber(database: string, account: string): number | undefined {
  if (/^\d+$/.test(account)) return Number(account);
  const id = accounts(database).find(([name]) => name === account)?.[2];
  return id !== undefined && /^\d+$/.test(id) ? Number(id) : undefined;
}

/** The name of an account; its number where the text in this file has no name for it. */
function nameOf(id: number, file: string, { readFileSync }: AccessCalls): string {
  const database = attempt(() => readFileSync(file, 'utf8')) ?? '';
  const name = accounts(database).find(([, , number]) => number === String(id))?.[0];
  return printable(name ?? String(id), 64);
}

function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}

/** The calls of `node:fs` that make directories. */
export interface DirectoryCalls {
  readonly mkdirSync: (path: string, options: { readonly mode: number }) => unknown;
  readonly statSync: (path: string) => { isDirectory(): boolean };
}

/** The path itself where nothing is above it. */
const above = (path: string): string => {
  const end = path.replace(/\/+$/, '').lastIndexOf('/');
  return end < 0 ? path : path.slice(0, end) || '/';
};

/**
 * Makes a directory and what is missing above it, as `mkdir -p` does; throws what the system says. Node's own `recursive` never
 * comes back from a directory in which nothing can be made and everything is missing, as `/proc`.
 * @returns the topmost directory that was made; undefined: it was there
 */
export function makeDirectories(path: string, mode: number, calls: DirectoryCalls): string | undefined {
  const make = (): boolean => {
    try {
      calls.mkdirSync(path, { mode });
      return true;
    } catch (thrown) {
      // Of what is there some file systems say something else than EEXIST.
      if (errorCode(thrown) !== 'ENOENT' && isDirectory(path, calls)) return false;
      throw thrown;
    }
  };
  try {
    return make() ? path : undefined;
  } catch (thrown) {
    if (errorCode(thrown) !== 'ENOENT' || above(path) === path) throw thrown;
  }
  const topmost = makeDirectories(above(path), mode, calls);
  return make() ? (topmost ?? path) : topmost;
}

function isDirectory(path: string, calls: DirectoryCalls): boolean {
  try {
    return calls.statSync(path).isDirectory();
  } catch {
    return false;
  }
}
