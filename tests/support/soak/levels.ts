import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'undici';

/** What a process holds. Sizes are in MiB. */
export interface Levels {
  readonly rss: number;
  /** V8's heap in use after a full collection. */
  readonly heap: number;
  /** Memory outside V8's heap that belongs to objects in it. */
  readonly external: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly children: number;
  readonly zombies: number;
  /** Timers, sockets, servers and other handles that keep the event loop alive. */
  readonly handles: number;
}

const mib = (bytes: number) => Math.round((bytes / 2 ** 20) * 10) / 10;

const fieldOf = (pid: number, name: string) =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

/** MiB resident. */
export const residentOf = (pid: number): number => mib(fieldOf(pid, 'VmRSS') * 1024);

/** What is at `path` of a process that may have ended. */
const readIfThere = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

const pids = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** State and parent of each process, in the text after the name, which may hold anything. */
const childrenOf = (parent: number) =>
  pids().flatMap((pid) => {
    const stat = readIfThere(`/proc/${pid}/stat`);
    const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(ppid) === parent ? [{ pid, state }] : [];
  });

/** Processes whose command line names `directory`, but for those of `except`. */
export const processesOf = (directory: string, except: readonly number[]): readonly string[] =>
  pids()
    .filter((pid) => !except.includes(pid))
    .map((pid) => readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' '))
    .filter((line) => line.includes(directory));

/** Connections of a port of this host that are not wholly closed, as the side that listens has them. */
export const connectionsOf = (port: number): number => {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const [listening, timeWait] = ['0A', '06'];
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, at, , state]) => at?.endsWith(local) && state !== listening && state !== timeWait).length;
};

/** What a process says of itself after a full garbage collection. */
export interface Inside {
  readonly heapUsed: number;
  readonly external: number;
  /** Kinds of active resources. */
  readonly resources: readonly string[];
}

const question = 'JSON.stringify({ ...process.memoryUsage(), resources: process.getActiveResourcesInfo() })';

/** Asks a Node process through its inspector, which SIGUSR1 has opened at `url`. */
export async function lookInside(url: string): Promise<Inside> {
  const socket = new WebSocket(url);
  const waiting = new Map<number, (result: { result?: { value?: string } }) => void>();
  let last = 0;
  try {
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', () => reject(new Error(`no inspector at ${url}`)));
      socket.addEventListener('close', () => reject(new Error('the inspector has closed')));
      socket.addEventListener('message', ({ data }) => {
        const { id, result } = JSON.parse(String(data));
        waiting.get(id)?.(result);
      });
    });
    const ask = (method: string, params = {}) =>
      new Promise<{ result?: { value?: string } }>((resolve, reject) => {
        last += 1;
        waiting.set(last, resolve);
        socket.addEventListener('close', () => reject(new Error('the inspector has closed')));
        socket.send(JSON.stringify({ id: last, method, params }));
      });
    // Twice: what finalisers let go of is collected the second time.
    await ask('HeapProfiler.collectGarbage');
    await ask('HeapProfiler.collectGarbage');
    const answer = await ask('Runtime.evaluate', { expression: question });
    return JSON.parse(answer.result?.value ?? '');
  } finally {
    socket.close();
  }
}

/** What this process says of itself after a full collection; it must have been started with --expose-gc. */
export function lookAtMyself(): Inside {
  globalThis.gc?.();
  globalThis.gc?.();
  return { ...process.memoryUsage(), resources: process.getActiveResourcesInfo() };
}

/** Levels of a process, and what it says of itself. */
export async function levelsOf(pid: number, look: () => Inside | Promise<Inside>): Promise<Levels> {
  const inside = await look();
  const children = childrenOf(pid);
  return {
    rss: residentOf(pid),
    heap: mib(inside.heapUsed),
    external: mib(inside.external),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: fieldOf(pid, 'Threads'),
    children: children.length,
    zombies: children.filter(({ state }) => state === 'Z').length,
    handles: inside.resources.length,
  };
}

/** Of several samples of a process at rest, a second apart, the lowest of each: what it holds, not what it passes through. */
export async function sampled(sample: () => Promise<Levels>, times = 5): Promise<Levels> {
  let lowest = await sample();
  for (let left = times - 1; left > 0; left -= 1) {
    await delay(1_000);
    const next = await sample();
    lowest = Object.fromEntries(
      Object.entries(lowest).map(([name, value]) => [name, Math.min(value, next[name as keyof Levels])]),
    ) as unknown as Levels;
  }
  return lowest;
}
