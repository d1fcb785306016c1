import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { tlsProbe } from '../../../src/adapters/node-tls/probe.js';

export const run = promisify(execFile);

/** A private instance of a server, in a directory of its own, on loopback. */
export interface TestServer {
  readonly targetType: string;
  readonly port: number;
  /** What the control plane would say about it, without verification. */
  readonly config: Readonly<Record<string, unknown>> & { readonly reload_command?: string };
  /** The files of certificate and key; one with both has that path twice. */
  readonly files: { readonly cert: string; readonly key: string };
  /** Whether `validate_command` looks at the certificate. */
  readonly validates: boolean;
  /** What a client says before and after a reload that leaves its connection alone; undefined: it does not. */
  readonly talk: Conversation | undefined;
  stop(): Promise<void>;
}

/** What a client says, and how each answer is known. */
export interface Conversation {
  /** Said at once. */
  readonly first: string;
  readonly answered: RegExp;
  /** Said when that is answered: servers let go of clients that want nothing. */
  readonly half: string;
  /** Said after the deployment. */
  readonly rest: string;
  readonly last: RegExp;
}

/** Two requests, of which the second is under way during the deployment. */
export const twoRequests: Conversation = {
  first: 'GET / HTTP/1.1\r\nhost: www.test\r\n\r\n',
  answered: /^HTTP\/1\.1 \d{3} /,
  half: 'GET /again HTTP/1.1\r\nhost: www.test\r\n',
  rest: '\r\n',
  last: /HTTP\/1\.1 \d{3} /,
};

export interface ServerPlace {
  /** Absolute, empty, removed by whoever made it. */
  readonly directory: string;
  /** PEM: leaf and chain, and key. */
  readonly certificate: string;
  readonly key: string;
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** What is served, tried until somebody answers. */
export async function served(port: number, patience = 15_000): Promise<string> {
  const deadline = performance.now() + patience;
  for (;;) {
    const endpoint = { address: '127.0.0.1', port, serverName: 'www.test' };
    const answer = await tlsProbe().servedFingerprint(endpoint, 5000);
    if (answer.isOk()) return answer.value;
    if (performance.now() > deadline) throw new Error(answer.error.message);
    await delay(20);
  }
}

/** Waits until something holds. */
export async function until(what: string, holds: () => Promise<boolean>, patience = 15_000): Promise<void> {
  const deadline = performance.now() + patience;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await delay(20);
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

/** Ends the process that a pid file names, and waits until it is gone. */
export async function stopByPidFile(path: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const pid = Number((await readFile(path, 'utf8').catch(() => '')).trim());
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  process.kill(pid, signal);
  await until(`process ${pid} ends`, async () => !isAlive(pid)).catch(() => process.kill(pid, 'SIGKILL'));
}

/** Ends a child and waits for it. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const killed = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(killed);
}

export const start = (program: string, args: readonly string[]): ChildProcess =>
  spawn(program, args, { stdio: 'ignore', env: { ...process.env, PATH: searchPath } });

/** Waits until a program that goes into the background has done so. */
export async function ended(child: ChildProcess): Promise<void> {
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${child.spawnfile} exited with ${code}`);
}

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Certificate and key in files of their own, in `tls/`. */
export async function pairOfFiles({ directory, certificate, key }: ServerPlace) {
  const tls = join(directory, 'tls');
  await mkdir(tls, { recursive: true });
  const files = { cert: join(tls, 'cert.pem'), key: join(tls, 'key.pem') };
  await writeFile(files.cert, certificate);
  await writeFile(files.key, key, { mode: 0o600 });
  return files;
}

/** An executable script. */
export async function script(path: string, ...lines: readonly string[]): Promise<string> {
  await writeFile(path, `#!/bin/sh\n${lines.join('\n')}\n`);
  await chmod(path, 0o755);
  return path;
}

/** Whether a program can be found; what cannot be tested without it says so. */
export const isInstalled = async (program: string): Promise<boolean> =>
  (await run('/bin/sh', ['-c', `PATH=${searchPath} command -v ${program}`]).catch(() => undefined)) !==
  undefined;
