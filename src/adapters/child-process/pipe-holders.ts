import { constants, fstatSync } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { memoryDirectory } from './memory-directory.js';

/** Which pipe it is, as long as the machine is up. */
export interface PipeIdentity {
  readonly device: number;
  readonly inode: number;
}

export const pipeIdentity = (descriptor: number): PipeIdentity => {
  const { dev, ino } = fstatSync(descriptor);
  return { device: dev, inode: ino };
};

const among = (pipes: readonly PipeIdentity[], dev: number, ino: number): boolean =>
  pipes.some(({ device, inode }) => device === dev && inode === ino);

/** Whether a process can write into one of the pipes. Whoever captures, or reads on to nowhere, has no write end. */
const holds = async (pid: number, pipes: readonly PipeIdentity[], directory: string): Promise<boolean> => {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const path = `/proc/${pid}/fd/${descriptor}`;
    try {
      // Only what is a pipe by its name is looked at: a file on a dead network file system would never answer.
      if (!(await readlink(path)).startsWith(`${directory}/`)) continue;
      const { dev, ino } = await stat(path);
      if (!among(pipes, dev, ino)) continue;
      const flags = /^flags:\s*([0-7]+)$/m.exec(
        await readFile(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8'),
      )?.[1];
      if ((Number.parseInt(flags ?? '0', 8) & 3) !== constants.O_RDONLY) return true;
    } catch {
      // It was closed, or its process has ended, meanwhile.
    }
  }
  return false;
};

/** Those that were started after `pid` first: the id of a child is mostly the larger one. */
const youngestFirst = (pids: readonly number[], pid: number): number[] => [
  ...pids.filter((each) => each > pid),
  ...pids.filter((each) => each < pid),
];

/**
 * The processes that hold the write end of one of these pipes, as far as /proc shows them and `budget` milliseconds allow.
 * The ids that follow `near` are looked at first.
 */
export const pipeHolders = async (
  pipes: readonly PipeIdentity[],
  near: number,
  budget: number,
): Promise<number[]> => {
  const directory = memoryDirectory();
  if (directory === undefined || pipes.length === 0) return [];
  const deadline = performance.now() + budget;
  const names = await readdir('/proc').catch(() => []);
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const found: number[] = [];
  for (const pid of youngestFirst(pids, near)) {
    if (performance.now() > deadline) break;
    if (pid !== process.pid && (await holds(pid, pipes, directory))) found.push(pid);
  }
  return found.sort((one, other) => one - other);
};
