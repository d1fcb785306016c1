import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, onTestFinished } from 'vitest';

const bin = fileURLToPath(new URL('../../../dist/bin/', import.meta.url));

type CleanUp = () => unknown;
let shareholder: CleanUp[] | undefined;

/** Cleans up when the test ends, or, for what `shared` makes, when the file does. */
export const atEnd = (work: CleanUp): void => {
  if (shareholder) shareholder.push(work);
  else
    onTestFinished(async () => {
      await work();
    });
};

/** Made once before the tests of a file or a describe, and gone after them: for what is expensive and what no test changes. */
export function shared<T>(make: () => Promise<T>): () => T {
  const work: CleanUp[] = [];
  let made: { readonly value: T } | undefined;
  beforeAll(async () => {
    shareholder = work;
    try {
      made = { value: await make() };
    } finally {
      shareholder = undefined;
    }
  });
  afterAll(async () => {
    for (const each of work.reverse()) await each();
  });
  return () => {
    if (!made) throw new Error('it is made before the tests, not before the file');
    return made.value;
  };
}

export type CommandName = 'ctrl-exec' | 'ctrl-exec-agent' | 'ctrl-exec-api';

/** The file to run with node, as the package ships it. */
export const commandFile = (command: CommandName): string => join(bin, `${command}.js`);

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves to the first group (or all) once the output matches; rejects if the process ends without it. */
  shows(pattern: RegExp, stream?: 'stdout' | 'stderr'): Promise<string>;
  /** What came so far. */
  output(stream?: 'stdout' | 'stderr'): string;
  /** Sends the signal (default SIGTERM) and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<Ended>;
}

export interface CommandOptions {
  readonly home?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Written to standard input, which is then ended. Without it, standard input stays open for `start`, empty for `run`. */
  readonly input?: string;
  /** Shell commands that come first in the same process: `umask 077`, `exec 3</etc/passwd`. */
  readonly before?: string;
}

/** Starts a command; it is killed at the end, whatever happened. */
export function start(command: CommandName, args: readonly string[], options: CommandOptions = {}): Started {
  const home = options.home === undefined ? [] : ['--home', options.home];
  const line = [process.execPath, commandFile(command), ...home, ...args];
  const shell = options.before === undefined ? [] : ['/bin/sh', '-c', `${options.before}; exec "$@"`, 'sh'];
  const [program = '', ...words] = [...shell, ...line];
  const child = spawn(program, words, {
    stdio: 'pipe',
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', USER: 'tester', ...options.env },
  });
  const output = { stdout: '', stderr: '' };
  const watchers = new Set<() => void>();
  const watch = () => {
    for (const watcher of watchers) watcher();
  };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
      watch();
    });
  }
  child.stdin.on('error', () => undefined);
  if (options.input !== undefined) child.stdin.end(options.input);
  let over = false;
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
  return {
    child,
    ended,
    output: (stream = 'stdout') => output[stream],
    shows: (pattern, stream = 'stdout') =>
      new Promise((resolve, reject) => {
        const watcher = () => {
          const found = pattern.exec(output[stream]);
          if (found) resolve(found[1] ?? found[0]);
          else if (over)
            reject(new Error(`${command} ${args.join(' ')} ended: ${output.stdout}${output.stderr}`));
          else return;
          watchers.delete(watcher);
        };
        watchers.add(watcher);
        watcher();
      }),
    stop: (signal = 'SIGTERM') => {
      child.kill(signal);
      return ended;
    },
  };
}

/** Runs a command to its end. */
export const run = (
  command: CommandName,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Ended> => start(command, args, { input: '', ...options }).ended;

/** A directory that is removed at the end. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-test-'));
  atEnd(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A port that the system says is free. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });

export interface OpenPairing {
  readonly port: number;
  readonly process: Started;
}

/** Opens pairing mode for the dispatcher in `home`, on a port that the system chooses. */
export async function openPairing(home: string): Promise<OpenPairing> {
  const process = start('ctrl-exec', ['pairing-mode', '--port', '0'], { home });
  return { process, port: Number(await process.shows(/Pairing mode on .*:(\d+)/)) };
}

export const requestArgs = (port: number, ...more: readonly string[]): string[] => [
  ...['request-pairing', '--dispatcher', '127.0.0.1', '--port', String(port)],
  ...more,
];

/** Starts `request-pairing` for an agent. Standard input stays open unless it is given. */
export const requestPairing = (
  { home, name }: Pick<AgentOnDisk, 'home' | 'name'>,
  port: number,
  more: readonly string[] = [],
  options: CommandOptions = {},
): Started => start('ctrl-exec-agent', requestArgs(port, '--name', name, ...more), { home, ...options });

export interface AgentOnDisk {
  readonly name: string;
  readonly home: string;
  readonly port: number;
  /** Adds an executable script and its allowlist entry; returns its path. */
  script(name: string, text: string): string;
  /** Starts the daemon and waits until it serves. */
  serve(options?: CommandOptions): Promise<Started>;
  command(...args: string[]): Promise<Ended>;
}

export interface DispatcherOnDisk {
  readonly home: string;
  command(...args: string[]): Promise<Ended>;
  start(...args: string[]): Started;
  /** Opens pairing mode on a port that the system chooses. */
  pairingMode(): Promise<OpenPairing>;
  /** A further agent on 127.0.0.1, its home prepared and paired. `conf` is appended to agent.conf. */
  pairAgent(name: string, conf?: string): Promise<AgentOnDisk>;
}

/** A dispatcher with CA and identity in a temporary directory. `conf` is its configuration. */
export async function dispatcherOnDisk(conf = ''): Promise<DispatcherOnDisk> {
  const home = join(temporaryDirectory(), 'dispatcher');
  mkdirSync(home);
  writeFileSync(join(home, 'ctrl-exec.conf'), `dispatcher_id = control\npairing_bind = 127.0.0.1\n${conf}`);
  const command = (...args: string[]) => run('ctrl-exec', args, { home });
  for (const step of ['setup-ca', 'setup-ctrl-exec']) {
    const ended = await command(step);
    if (ended.code !== 0) throw new Error(`${step}: ${ended.stderr}`);
  }
  return {
    home,
    command,
    start: (...args) => start('ctrl-exec', args, { home }),
    pairingMode: () => openPairing(home),
    async pairAgent(name, agentConf = '') {
      const agent = await agentOnDisk(name, agentConf);
      const mode = await openPairing(home);
      const request = requestPairing(agent, mode.port, ['--lookup-by', 'ip']);
      const id = await request.shows(/Request ([0-9a-f]{8})/);
      const approved = await command('approve', id);
      // Only now, so that the agent's first question finds the decision.
      request.child.stdin?.end('y\n');
      const paired = await request.ended;
      if (approved.code !== 0 || paired.code !== 0)
        throw new Error(`pairing: ${approved.stderr}${paired.stdout}${paired.stderr}`);
      await mode.process.stop();
      return agent;
    },
  };
}

/** The home of an agent that is not paired, on a free port of 127.0.0.1. */
export async function agentOnDisk(name: string, conf = ''): Promise<AgentOnDisk> {
  const home = join(temporaryDirectory(), name);
  mkdirSync(home);
  const port = await freePort();
  writeFileSync(join(home, 'agent.conf'), `port = ${port}\nbind = 127.0.0.1\n${conf}`);
  let allowlist = '';
  return {
    name,
    home,
    port,
    script(script, text) {
      const path = join(home, `${script}.script`);
      writeFileSync(path, text);
      chmodSync(path, 0o755);
      allowlist += `${script} = ${path}\n`;
      writeFileSync(join(home, 'scripts.conf'), allowlist);
      return path;
    },
    async serve(options = {}) {
      const process = start('ctrl-exec-agent', ['serve'], { home, ...options });
      await process.shows(/Serving on/);
      return process;
    },
    command: (...args) => run('ctrl-exec-agent', args, { home }),
  };
}
