import { once } from 'node:events';
import { createServer, type SecureVersion, type TLSSocket } from 'node:tls';
import type { Credentials } from '../../../src/ports/channel.js';
import { atEnd } from '../commands/commands.js';
import { capture, listening, openTls } from '../network/raw-tls.js';

type Message = Readonly<Record<string, unknown>>;

/** The request that a deployed agent sent, as it was captured. */
export const capturedPairing = () => {
  const bytes = capture('agent-pair.http');
  const body: Record<string, string> = JSON.parse(bytes.toString('utf8', bytes.indexOf('\r\n\r\n') + 4));
  const { hostname = '', nonce = '', csr = '' } = body;
  return { bytes, hostname, nonce, csr };
};

/** A request in the bytes of a deployed agent. */
export function legacyRequest(message: Message | string): Buffer {
  const body = Buffer.from(typeof message === 'string' ? message : JSON.stringify(message));
  const head = `POST /pair HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** What a deployed agent reads of an answer. */
interface LegacyAnswer {
  /** The lines as they came, the first one included. */
  readonly lines: readonly string[];
  readonly body: Message;
}

/**
 * A deployed agent's reading of the pairing port, after its description: lines up to an empty one, of which only
 * Content-Length means something, then so many bytes. It rejects where the connection ends before.
 */
export function legacyReader(socket: TLSSocket) {
  let bytes = Buffer.alloc(0);
  let over = false;
  let wake = () => {};
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  socket.on('error', () => {});
  socket.once('close', () => {
    over = true;
    wake();
  });
  const take = (): LegacyAnswer | undefined => {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const lines = bytes.toString('latin1', 0, end).split('\r\n');
    const length = lines.map((line) => /^content-length:\s*(\d+)/i.exec(line)?.[1]).find(Boolean);
    if (length === undefined) throw new Error(`no Content-Length in ${JSON.stringify(lines)}`);
    const start = end + 4;
    if (bytes.length < start + Number(length)) return undefined;
    const body = JSON.parse(bytes.toString('utf8', start, start + Number(length)));
    bytes = bytes.subarray(start + Number(length));
    return { lines, body };
  };
  return {
    async next(): Promise<LegacyAnswer> {
      for (;;) {
        const taken = take();
        if (taken) return taken;
        if (over) throw new Error(`the connection ended after ${JSON.stringify(bytes.toString('latin1'))}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** An agent of version 1: what it asks for, and the answers to it. */
export async function legacyAgent(port: number, request: Buffer, version?: SecureVersion) {
  const socket = await openTls(port, undefined, version ? { minVersion: version, maxVersion: version } : {});
  const reader = legacyReader(socket);
  socket.write(request);
  return { socket, next: reader.next };
}

/** An answer in the bytes of a deployed dispatcher. */
export const legacyAnswer = (body: Message | string): string => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return `HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
};

/** One connection to a dispatcher of version 1. */
export interface LegacyConnection {
  readonly socket: TLSSocket;
  /** Of `POST /pair`: the bytes as they came. */
  readonly head: string;
  readonly body: Message;
}

/**
 * A dispatcher of version 1 on a port of this host. To what is no request of its own it says `invalid request` whatever the
 * path; `decide` gets the others, once they were told that they are pending.
 */
export async function legacyDispatcher(
  { key, certificate }: Credentials,
  decide: (connection: LegacyConnection) => void | Promise<void>,
) {
  const heads: string[] = [];
  const server = createServer({ key, cert: certificate }, (socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      const length = Number(/content-length:\s*(\d+)/i.exec(text)?.[1] ?? 0);
      if (end < 0 || text.length < end + 4 + length) return;
      const head = text.slice(0, end);
      const body = JSON.parse(text.slice(end + 4) || '{}');
      text = '';
      heads.push(head);
      if (!body['csr'] || !body['hostname'])
        return void socket.end(legacyAnswer({ reason: 'invalid request', status: 'error' }));
      socket.write(legacyAnswer({ status: 'pending', reqid: '3698ad2223d6b146' }));
      void decide({ socket, head, body });
    });
  });
  server.on('tlsClientError', () => {});
  const port = await listening(server);
  atEnd(async () => {
    server.close();
  });
  return { port, heads, closed: () => once(server, 'close') };
}
