import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { deferred } from './network.js';

/**
 * Stands between a dispatcher and an agent. What is sent to the agent on the next connection after `hold` waits, but for its first
 * packet, until `release`: the client's handshake is over, and its request is on its way.
 */
export async function holdingProxy(port: number) {
  let holding = false;
  let released = deferred();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const held = holding;
    holding = false;
    const gate = released.promise;
    const agent = dial({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [client, agent]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    let first = true;
    let last: Promise<unknown> = Promise.resolve();
    client.on('data', (bytes) => {
      const wait = held && !first ? gate : undefined;
      first = false;
      last = last.then(() => wait).then(() => agent.write(bytes));
    });
    client.on('close', () => void last.then(() => agent.end()));
    agent.on('data', (bytes) => {
      if (!client.destroyed) client.write(bytes);
    });
    agent.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    released.resolve();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    port: (server.address() as AddressInfo).port,
    hold(): void {
      holding = true;
      released = deferred();
    },
    release: () => released.resolve(),
  };
}

/** Stands between a dispatcher and an agent. What the agent sends on connections from before `stall` arrives nowhere; `cut` ends them. */
export async function stallingProxy(port: number) {
  const sockets = new Set<Socket>();
  const before = new Set<Socket>();
  let stalled = false;
  const server = createServer((client) => {
    const agent = dial({ port, host: '127.0.0.1' });
    for (const socket of [client, agent]) {
      sockets.add(socket);
      if (!stalled) before.add(socket);
      socket.on('error', () => undefined);
    }
    const passes = () => !stalled || !before.has(client);
    client.on('data', (bytes) => agent.write(bytes));
    client.on('close', () => agent.destroy());
    agent.on('data', (bytes) => {
      if (passes()) client.write(bytes);
    });
    agent.on('close', () => {
      if (passes()) client.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    port: (server.address() as AddressInfo).port,
    stall(): void {
      stalled = true;
    },
    cut(): void {
      for (const socket of before) socket.destroy();
    },
  };
}
