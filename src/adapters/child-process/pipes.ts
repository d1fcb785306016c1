import { spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { memoryDirectory } from './memory-directory.js';

/** The two ends of a pipe, close-on-exec and non-blocking on this side. */
export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

export interface PipeSource {
  /** `count` fresh pipes that belong to the caller, or undefined where the system makes none. */
  take(count: number): Promise<readonly Pipe[] | undefined>;
}

const largestBatch = 256;
const largestReserve = 64;
const idleTime = 250;

const closeAll = (descriptors: readonly number[]): void => {
  for (const descriptor of descriptors) closeSync(descriptor);
};

const openAll = (paths: readonly string[], flags: number): number[] => {
  const opened: number[] = [];
  try {
    for (const path of paths) opened.push(openSync(path, flags | constants.O_NONBLOCK));
    return opened;
  } catch (error) {
    closeAll(opened);
    throw error;
  }
};

const mkfifo = (directory: string, names: readonly string[]): Promise<boolean> =>
  new Promise((resolve) => {
    // A child of another account could otherwise open the read end by /proc, and take output away.
    const child = spawn('mkfifo', ['-m', /* defence: output-pipes-are-private */ '600', ...names], {
      cwd: directory,
      stdio: 'ignore',
    });
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
  });

/** Makes `count` FIFOs and holds each by one descriptor; their names are gone when this resolves. Empty: it failed. */
const makeFifos = async (count: number): Promise<number[]> => {
  const parent = memoryDirectory();
  if (parent === undefined) return [];
  try {
    const directory = mkdtempSync(join(parent, 'ctrl-exec-pipes-'));
    try {
      const names = Array.from({ length: count }, (_, index) => String(index));
      if (!(await mkfifo(directory, names))) return [];
      return openAll(
        names.map((name) => join(directory, name)),
        constants.O_RDWR,
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  } catch {
    return [];
  }
};

const openEnds = (fifo: number): Pipe | undefined => {
  const path = `/proc/self/fd/${fifo}`;
  const ends: number[] = [];
  try {
    ends.push(...openAll([path], constants.O_RDONLY), ...openAll([path], constants.O_WRONLY));
    const [readEnd, writeEnd] = ends;
    return readEnd === undefined || writeEnd === undefined ? undefined : { readEnd, writeEnd };
  } catch {
    closeAll(ends);
    return undefined;
  } finally {
    closeSync(fifo);
  }
};

/**
 * Real pipes for output. What Node gives a child as `'pipe'` is a socket, and a socket cannot be opened by name:
 * `echo … >/dev/stderr` and `tee /dev/stderr` fail with ENXIO. Node has no call that makes a pipe, so `mkfifo(1)` makes a
 * batch of them at a time: as many as are asked for, and while the asking goes on a growing reserve, which is closed when
 * nobody has asked for a while.
 */
export const pipeSource = (): PipeSource => {
  let reserve: number[] = [];
  let reserveSize = 0;
  let wanted = 0;
  let refilling: Promise<boolean> | undefined;
  let idle: NodeJS.Timeout | undefined;

  const refill = async (): Promise<boolean> => {
    const made = await makeFifos(Math.min(Math.max(wanted, reserveSize), largestBatch));
    reserveSize = Math.min(Math.max(2, reserveSize * 2), largestReserve);
    reserve.push(...made);
    refilling = undefined;
    return made.length > 0;
  };

  const closeReserve = (): void => {
    closeAll(reserve);
    reserve = [];
    reserveSize = 0;
  };

  const open = (count: number): readonly Pipe[] | undefined => {
    const pipes = reserve.splice(0, count).map(openEnds);
    const usable = pipes.filter((pipe) => pipe !== undefined);
    if (usable.length === count) return usable;
    for (const { readEnd, writeEnd } of usable) closeAll([readEnd, writeEnd]);
    return undefined;
  };

  return {
    async take(count) {
      clearTimeout(idle);
      wanted += count;
      try {
        while (reserve.length < count) {
          refilling ??= refill();
          if (!(await refilling)) return undefined;
        }
        return open(count);
      } finally {
        wanted -= count;
        if (wanted === 0) idle = setTimeout(closeReserve, idleTime).unref();
      }
    },
  };
};

/** One source for the whole process: a batch serves every runner in it. Nothing happens before the first use. */
export const pipes: PipeSource = pipeSource();
