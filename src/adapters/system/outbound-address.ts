import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';

/** Milliseconds that a name may take to resolve. */
const patience = 2_000;

/** The address that this host has towards another; empty where that cannot be told. A datagram socket is connected, and nothing sent. */
export const outboundAddress = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    const settle = (address: string) => {
      clearTimeout(timer);
      socket.removeAllListeners().on('error', () => undefined);
      socket.close();
      resolve(address);
    };
    const timer = setTimeout(() => settle(''), patience);
    socket.once('error', () => settle(''));
    socket.once('connect', () => settle(socket.address().address));
    socket.connect(port, host);
  });
