import { randomBytes } from 'node:crypto';
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Refusal, refusal } from '../answers/refusals.js';

const refusals: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: refusal('headerBytes'),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: refusal('chunkBytes'),
  ERR_HTTP_REQUEST_TIMEOUT: refusal('tooSlow'),
};

function refusalBytes({ status, body: said }: Refusal): string {
  const body = JSON.stringify(said);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    `X-Request-Id: ${randomBytes(8).toString('hex')}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

/**
 * Answers what is not HTTP, or does not come in time, in the form of every other answer, and closes the connection. Where the client
 * could take that for the answer to another request, it only closes.
 */
export function answerBroken(server: Server): void {
  const open = new WeakMap<Duplex, Map<IncomingMessage, ServerResponse>>();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const here = open.get(socket) ?? new Map();
    open.set(socket, here.set(request, response));
    response.once('close', () => here.delete(request));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const { code = '' } = error;
    const outstanding = [...(open.get(socket) ?? [])];
    const meant = outstanding.every(
      ([request, response]) => outstanding.length === 1 && !request.complete && !response.headersSent,
    );
    if (!socket.writable || !meant || !/^(HPE|ERR_HTTP)_/.test(code)) socket.destroy();
    else socket.end(refusalBytes(refusals[code] ?? refusal('noHttp')), () => socket.destroy());
  });
}

/** Closes connections of which an answer waits for so many milliseconds without any of its bytes being taken. */
export function endStalled(server: Server, stall: number): void {
  const answering = new Set<ServerResponse>();
  const timed = new WeakSet<ServerResponse>();
  server.on('request', (_request: IncomingMessage, response: ServerResponse) => {
    answering.add(response);
    response.once('close', () => answering.delete(response));
  });
  // The socket's own timer knows of bytes that the system takes within one long write, but counts the wait for a script as well.
  const watch = setInterval(() => {
    for (const response of answering) {
      const { socket } = response;
      if (!socket) continue;
      const waiting = socket.writableLength > 0;
      if (waiting === timed.has(response)) continue;
      socket.setTimeout(waiting ? stall : 0);
      if (waiting) timed.add(response);
      else timed.delete(response);
    }
  }, stall / 4).unref();
  server.once('close', () => clearInterval(watch));
}
