import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { atEnd, type CommandName, commandFile, type Ended } from '../commands/commands.js';

/** A process in the namespace. */
export interface Inside {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves to the first group (or all) once standard output or error matches; rejects if the process ends before. */
  shows(pattern: RegExp): Promise<string>;
  output(): string;
}

/** A network of its own on this machine. */
export interface NetworkNamespace {
  start(command: CommandName, home: string, ...args: string[]): Inside;
  run(command: CommandName, home: string, ...args: string[]): Promise<Ended>;
}

/** Whether this user may make network namespaces with addresses here. */
export function mayMakeNetworks(): boolean {
  try {
    execFileSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' });
    execFileSync('nsenter', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * A network that has these addresses and nobody else in it; whoever connects to one of them comes from it, too. Gone at
 * the end of the test with everything that was started in it.
 */
export async function networkWith(addresses: readonly string[]): Promise<NetworkNamespace> {
  const setUp = ['ip link set lo up', ...addresses.map((each) => `ip addr add ${each}/32 dev lo`), 'echo up'];
  const holder = spawn('unshare', ['--net', 'sh', '-ec', `${setUp.join('\n')}\nexec sleep infinity`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  atEnd(async () => {
    const closed = once(holder, 'close');
    if (holder.kill('SIGKILL')) await closed;
  });
  await once(holder.stdout, 'data');

  const start = (command: CommandName, home: string, ...args: string[]): Inside => {
    const inside = [`--net=/proc/${holder.pid}/ns/net`, process.execPath, commandFile(command)];
    const child = spawn('nsenter', [...inside, '--home', home, ...args], {
      env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', USER: 'tester' },
    });
    const output = { stdout: '', stderr: '' };
    const watchers = new Set<() => void>();
    let over = false;
    const watch = () => {
      for (const watcher of watchers) watcher();
    };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        output[stream] += text;
        watch();
      });
    child.stdin.on('error', () => undefined);
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code, signal) => {
        over = true;
        resolve({ code, signal, ...output });
        watch();
      });
    });
    atEnd(async () => {
      if (!over) child.kill('SIGKILL');
      await ended;
    });
    const all = () => output.stdout + output.stderr;
    return {
      child,
      ended,
      output: all,
      shows: (pattern) =>
        new Promise((resolve, reject) => {
          const watcher = () => {
            const found = pattern.exec(all());
            if (found) resolve(found[1] ?? found[0]);
            else if (over) reject(new Error(`${command} ${args.join(' ')} ended: ${all()}`));
            else return;
            watchers.delete(watcher);
          };
          watchers.add(watcher);
          watcher();
        }),
    };
  };
  return {
    start,
    run: (command, home, ...args) => {
      const process = start(command, home, ...args);
      process.child.stdin?.end();
      return process.ended;
    },
  };
}
