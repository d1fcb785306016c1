// A process of hostile clients: what they are comes on standard input as one line of JSON, and they end with it. What
// became of them is said on standard output, a line of JSON each time.
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { bodies, clientHello, mutated, seeded } from '../network/mutate.js';
import { bytesOf, requestOf, signedFor } from '../network/raw-http.js';
import { openTcp, openTls } from '../network/raw-tls.js';
import { slowClients, slowStages } from '../slow-clients/clients.js';

/** Longer than any time that a peer is given here: who is still open then hangs. */
const patience = 60_000;

const outcome = (socket: Socket): Promise<'answered' | 'closed' | 'hung'> =>
  new Promise((resolve) => {
    let count = 0;
    let hung = false;
    const hang = setTimeout(() => {
      hung = true;
      socket.destroy();
    }, patience);
    socket.on('data', (chunk: Buffer) => {
      count += chunk.length;
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(hang);
      resolve(hung ? 'hung' : count > 0 ? 'answered' : 'closed');
    });
  });

// Who started it may be gone before it.
process.stdout.on('error', () => {});

const lines = createInterface({ input: process.stdin });
lines.once('line', async (line) => {
  const { count, seed, ...options } = JSON.parse(line);
  const { port, who } = options;
  const random = seeded(seed);
  const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const tally: Record<string, number> = {};
  const note = (what: string) => {
    tally[what] = (tally[what] ?? 0) + 1;
  };
  const clients = slowClients(count, options);
  let stopped = false;
  const tell = () => {
    const slow = slowStages.reduce((sum, stage) => sum + clients.ended(stage), 0);
    process.stdout.write(`${JSON.stringify({ ...tally, slow })}\n`);
  };
  const telling = setInterval(tell, 250);

  const hello = await clientHello();
  const http = async () => {
    const [path, body] = any(bodies);
    const own = seeded(Math.floor(random() * 2 ** 32));
    const socket = await openTls(port, who);
    const end = outcome(socket);
    const request = bytesOf(signedFor(socket, who, requestOf(path, body)), own() < 0.3 ? '1.0' : '1.1');
    socket.end(mutated(request, own));
    note(`http ${await end}`);
  };
  const json = async () => {
    const [path, body] = any(bodies);
    const bytes = mutated(Buffer.from(body), random);
    const socket = await openTls(port, who);
    const end = outcome(socket);
    socket.write(bytesOf(signedFor(socket, who, { ...requestOf(path, ' '), body: bytes }), '1.0'));
    note(`json ${await end}`);
  };
  const tls = async () => {
    const bytes = mutated(hello, random);
    const socket = await openTcp(port);
    const end = outcome(socket);
    socket.end(bytes);
    note(`tls ${await end}`);
  };
  const lane = async () => {
    while (!stopped) await any([http, json, tls])().catch(() => note('turned away'));
  };
  const lanes = Promise.all([lane(), lane()]);
  lines.once('close', async () => {
    stopped = true;
    clients.stop();
    clearInterval(telling);
    await lanes;
    tell();
  });
});
