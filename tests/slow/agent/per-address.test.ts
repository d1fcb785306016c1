import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { shared } from '../../support/commands/commands.js';
import { pairedHost } from '../../support/fleet/fleet.js';
import { closed, openTls } from '../../support/network/raw-tls.js';
import { dispatcherIdentity, inPairingMode } from '../../support/pairing/pairing.js';
import { pairingPeer, postTo } from '../../support/pairing/peer.js';

const neighbour = '127.0.0.2';
const opened: Socket[] = [];
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
});

/** From the neighbour address. */
const tcp = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: neighbour });
    opened.push(socket);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.on('error', () => {});
      socket.resume();
      resolve(socket);
    });
  });

const stillOpen = () => opened.filter((socket) => !socket.closed).length;

describe('an address from which many connections come', () => {
  const host = pairedHost();
  const identity = shared(dispatcherIdentity);

  it('has 16 in their handshake with a small agent, and does not keep the dispatcher out', async () => {
    const agent = await host.fresh('max_connections = 64\n');
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    for (let count = 0; count < 16; count += 1) await tcp(agent.port);
    await closed(await tcp(agent.port));
    await daemon.shows(/ACTION=connection-refused IP=127\.0\.0\.2 REASON=TOO_MANY_OF_THIS_ADDRESS/, 'stderr');
    expect(stillOpen()).toBe(16);
    expect(await host.running(agent, 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
  });

  it('has 8 with the pairing port, and does not keep agents out that pair from elsewhere', async () => {
    const { mode, port, post } = await inPairingMode(identity());
    for (let count = 0; count < 8; count += 1) await openTls(port, undefined, { socket: await tcp(port) });
    await closed(await tcp(port));
    await mode.process.shows(
      /ACTION=pairing-refused IP=127\.0\.0\.2 REASON=TOO_MANY_OF_THIS_ADDRESS/,
      'stderr',
    );
    expect(stillOpen()).toBe(8);
    expect((await (await pairingPeer(post, 'web-01')).start()).status).toBe(201);
    const elsewhere = postTo(port, { localAddress: '127.0.0.3' });
    expect((await (await pairingPeer(elsewhere, 'web-02')).start()).status).toBe(201);
  });
});
