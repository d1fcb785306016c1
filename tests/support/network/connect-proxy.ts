import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** A proxy on loopback that knows CONNECT alone, and takes every host for this one. */
export interface ConnectProxy {
  /** With the user and the password that it wants. */
  readonly url: string;
  readonly place: string;
  readonly password: string;
  /** `host:port` of each tunnel. */
  readonly tunnels: readonly string[];
  /** What went through in both directions, as it was on the wire. */
  wire(): Buffer;
  close(): Promise<void>;
}

export async function connectProxy(): Promise<ConnectProxy> {
  const password = 'proxy-password-1';
  const expected = `Basic ${Buffer.from(`user:${password}`).toString('base64')}`;
  const tunnels: string[] = [];
  const wire: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_, response) => response.writeHead(405).end());
  server.on('connect', (request, socket: Socket) => {
    socket.on('error', () => undefined);
    if (request.headers['proxy-authorization'] !== expected) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    tunnels.push(request.url ?? '');
    const onward = connect(Number(request.url?.split(':').at(-1)), '127.0.0.1');
    sockets.add(onward);
    onward
      .on('error', () => socket.destroy())
      .once('connect', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        for (const [from, to] of [
          [socket, onward],
          [onward, socket],
        ] as const)
          from.on('data', (chunk: Buffer) => wire.push(chunk)).pipe(to);
      });
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const place = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://user:${password}@${place}`,
    place,
    password,
    tunnels,
    wire: () => Buffer.concat(wire),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
