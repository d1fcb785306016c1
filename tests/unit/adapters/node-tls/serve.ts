import { afterEach, beforeAll } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { tlsListener } from '../../../../src/adapters/node-tls/listener.js';
import type { ListenerTimings } from '../../../../src/adapters/node-tls/timings.js';
import type { IncomingRequest, ListenOptions } from '../../../../src/ports/listener.js';
import {
  echo,
  type Identities,
  listen,
  listenOptions,
  makeIdentities,
} from '../../../support/network/network.js';
import { openTls, received } from '../../../support/network/raw-tls.js';

/** Listeners for the tests of one file, closed after each. */
export function listeners() {
  const crypto = nodeCrypto();
  const closing: (() => Promise<void>)[] = [];
  let identities: Identities;

  beforeAll(async () => {
    identities = await makeIdentities();
  });
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function serve(options: Partial<ListenOptions> = {}, timings: Partial<ListenerTimings> = {}) {
    const handled: IncomingRequest[] = [];
    const refused: string[] = [];
    const failed: unknown[] = [];
    const { handle = echo, ...others } = options;
    const listener = tlsListener({ crypto }, timings);
    const server = await listen(
      listener,
      listenOptions(identities, {
        refused: (_address, reason) => refused.push(reason),
        failed: (error) => failed.push(error),
        handle(request) {
          handled.push(request);
          return handle(request);
        },
        ...others,
      }),
    );
    closing.push(() => server.close(0));
    const open = () => openTls(server.port, identities.dispatcher);
    /** Sends bytes and gives all that comes back until the connection ends. */
    const send = async (...parts: (string | Uint8Array)[]) => {
      const socket = await open();
      const answer = received(socket);
      socket.write(Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1'))));
      return answer;
    };
    return { server, handled, refused, failed, open, send };
  }

  return { serve, identities: () => identities };
}
