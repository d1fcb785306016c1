import type { TLSSocket } from 'node:tls';
import { Client } from 'undici';

/**
 * An undici client over a connection that stands and was judged. It never makes one of its own: where undici would
 * connect again, it is told that the connection is closed. In a file of its own, because undici is slow to load.
 * @param keepIdle milliseconds after which an idle connection is closed
 */
export function clientOver(socket: TLSSocket, keepIdle: number): Client {
  let used = false;
  return new Client('https://peer.invalid', {
    pipelining: 1,
    keepAliveTimeout: keepIdle,
    keepAliveMaxTimeout: keepIdle,
    connect(_options, callback) {
      const again = used;
      used = true;
      queueMicrotask(() => {
        if (again || socket.destroyed) callback(new Error('the connection is closed'), null);
        else callback(null, socket);
      });
    },
  });
}
