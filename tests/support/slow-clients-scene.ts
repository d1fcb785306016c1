import { expect } from 'vitest';
import type { Credentials } from '../../src/ports/transport.js';
import { type AgentOnDisk, atEnd, type Started } from './commands.js';
import { rawRequest } from './fleet.js';
import { type SlowStage, slowClients } from './slow-clients.js';

/**
 * So many slow clients at an agent, half of them from the dispatcher's own address, while the dispatcher pings over a new
 * connection each time: every ping is answered, from before the first of them is ended until one of each of `stages` was.
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
  const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.1', '127.0.0.3'];
  const clients = slowClients(count, { port: agent.port, who, addresses, script: 'long' });
  atEnd(() => clients.stop());
  let over = false;
  const ended = clients.allEnded(stages).then(() => {
    over = true;
  });
  let pings = 0;
  while (!over) {
    await ping();
    pings += 1;
  }
  await ended;
  clients.stop();
  await ping();
  expect(daemon.child.exitCode).toBeNull();
  return { pings, most: clients.most() };
}

/** More than what fits into the buffers of a connection. */
export const longOutput = '#!/bin/sh\nhead -c 8000000 /dev/zero | tr "\\0" x\n';
