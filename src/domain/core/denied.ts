import { printable } from './names.js';

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

/** By a text like /etc/passwd or /etc/group; the number where that has no name for it. */
function nameOf(id: number, database: string, { readFileSync }: AccessCalls): string {
  const lines = (attempt(() => readFileSync(database, 'utf8')) ?? '')
    .split('\n')
    .map((line) => line.split(':'));
  return printable(lines.find(([, , number]) => number === String(id))?.[0] ?? String(id), 64);
}

function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
