import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { expect } from 'vitest';
import type { Credentials } from '../../../src/ports/channel.js';
import { type AgentOnDisk, atEnd, type Started, temporaryDirectory } from '../commands/commands.js';
import { rawRequest } from '../fleet/fleet.js';
import type { SlowStage } from './clients.js';

interface Progress {
  readonly ended: readonly SlowStage[];
  readonly most: number;
}

/** Slow clients in a process of their own, so that who pings beside them is not slow as well. */
function attack(count: number, port: number, who: Credentials) {
  const outfile = join(temporaryDirectory(), 'slow-clients.mjs');
  buildSync({
    entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  });
  const child = spawn(process.execPath, [outfile], { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const stop = async () => {
    child.stdin.end();
    await closed;
  };
  atEnd(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.1', '127.0.0.3'];
  const options = { count, port, who, addresses, script: 'long', answerLength };
  child.stdin.write(`${JSON.stringify(options)}\n`);
  let progress: Progress = { ended: [], most: 0 };
  createInterface({ input: child.stdout }).on('line', (line) => {
    progress = JSON.parse(line);
  });
  return { child, progress: () => progress, stop };
}

/**
 * So many slow clients at an agent, half of them from the dispatcher's own address, while the dispatcher pings over a new
 * connection each time: every ping is answered, until the agent has ended one of each of `stages` for its slowness.
 */
export async function pingedAmong(
  count: number,
  agent: AgentOnDisk,
  daemon: Started,
  who: Credentials,
  stages: readonly SlowStage[],
): Promise<{ readonly pings: number; readonly most: number }> {
  const ping = async () => {
    const { statusLine, body } = await rawRequest(agent.port, who, '/ping', '{"reqid":"p1"}');
    expect([statusLine, JSON.parse(body).status]).toEqual(['HTTP/1.0 200 OK', 'ok']);
  };
  await ping();
  const clients = attack(count, agent.port, who);
  let pings = 0;
  while (!stages.every((stage) => clients.progress().ended.includes(stage))) {
    await ping();
    pings += 1;
    expect([daemon.child.exitCode, clients.child.exitCode]).toEqual([null, null]);
  }
  const { most } = clients.progress();
  await clients.stop();
  await ping();
  return { pings, most };
}

/** Bytes of its answer, six for each NUL: more than the kernel takes in for a connection whose other side does not read. */
const answerLength = 42_000_000;

export const longOutput = `#!/bin/sh\nhead -c ${answerLength / 6} /dev/zero\n`;
