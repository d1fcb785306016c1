import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type HeaderList, type HttpAnswer, jsonAnswer } from '../../domain/protocol/http-message.js';
import type { IncomingRequest, ListenerAnswer, ListenOptions } from '../../ports/listener.js';
import { answerBytes, answerHeaders, sendLast } from './answer.js';
import type { Connection, Connections } from './connections.js';
import { requestBody } from './request-body.js';
import { sendStream, writeAll } from './stream.js';
import type { ListenerTimings } from './timings.js';

const maxHeaderLines = 32;

/** Two of them would be read in one way here and in another elsewhere. */
const onlyOnce = new Set([
  'content-digest',
  'content-length',
  'content-type',
  'ctrl-exec-target',
  'host',
  'signature',
  'signature-input',
  'transfer-encoding',
]);

function repeatsWhatComesOnce({ rawHeaders }: IncomingMessage): boolean {
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  return names.some((name, index) => onlyOnce.has(name) && names.indexOf(name) !== index);
}

const refusal = (status: number, error: string) => jsonAnswer(status, { error });

/** What is answered without asking the handler. */
function whyNotHandled(request: IncomingMessage): HttpAnswer | undefined {
  if (request.rawHeaders.length / 2 > maxHeaderLines) return refusal(431, 'too many headers');
  if (request.httpVersionMajor !== 1) return refusal(505, 'HTTP version not supported');
  if (repeatsWhatComesOnce(request)) return refusal(400, 'bad request');
  const encoding = request.headers['transfer-encoding'];
  if (encoding !== undefined && (request.httpVersionMinor === 0 || encoding.toLowerCase() !== 'chunked'))
    return refusal(400, 'bad request');
  // Nothing may follow the header in the answer to a HEAD, not even the reason.
  if (request.method === 'HEAD') return { status: 405, headers: [], body: new Uint8Array() };
  if (!request.url?.startsWith('/')) return refusal(400, 'bad request');
  return undefined;
}

function headersOf(request: IncomingMessage): HeaderList {
  const raw = request.rawHeaders;
  return Array.from({ length: raw.length / 2 }, (_, index) => [
    (raw[2 * index] ?? '').toLowerCase(),
    raw[2 * index + 1] ?? '',
  ]);
}

function incoming(
  request: IncomingMessage,
  connection: Connection,
  body: IncomingRequest['body'],
): IncomingRequest {
  const url = request.url ?? '/';
  const queryAt = url.indexOf('?');
  return {
    method: request.method ?? '',
    path: queryAt < 0 ? url : url.slice(0, queryAt),
    query: queryAt < 0 ? '' : url.slice(queryAt),
    headers: headersOf(request),
    peer: connection.peer,
    httpVersion: request.httpVersionMinor === 0 ? '1.0' : '1.1',
    body,
  };
}

const statusOfParserError: Record<string, number> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
};

const wordsOfStatus: Record<number, string> = {
  408: 'request timeout',
  413: 'request too large',
  431: 'headers too large',
};

/** Hands every request to the handler and sends what it answers. */
export function serveRequests(
  server: Server,
  connections: Connections,
  options: ListenOptions,
  timings: ListenerTimings,
): void {
  const ask = async <A extends HttpAnswer>(
    work: () => Promise<A>,
    http10: boolean,
  ): Promise<A | HttpAnswer> => {
    try {
      const answer = await work();
      answerHeaders(answer);
      if (!(answer.stream && http10)) return answer;
      await answer.stream[Symbol.asyncIterator]().return?.();
      throw new Error('a stream in answer to a request of HTTP/1.0');
    } catch (error) {
      options.failed?.(error);
      return refusal(500, 'internal error');
    }
  };

  const endWith = (
    socket: Socket,
    answer: HttpAnswer,
    version: '1.0' | '1.1',
    unread?: IncomingMessage,
  ): void => {
    const connection = connections.get(socket);
    if (!connection || connection.state === 'ended') return;
    connection.state = 'ended';
    sendLast(socket, answerBytes(version, answer), timings, unread);
  };

  /** Sends one answer, and another one when the handler has it; the connection waits as long as that takes. */
  const answerTwice = async (
    socket: Socket,
    connection: Connection,
    first: HttpAnswer,
    next: NonNullable<ListenerAnswer['next']>,
  ): Promise<void> => {
    const gone = new AbortController();
    const onClose = () => gone.abort();
    if (socket.destroyed) onClose();
    socket.once('close', onClose);
    connection.state = 'waiting';
    // A peer that vanished without a word would hold its place until the handler gives up.
    socket.setKeepAlive(true, timings.stall);
    if (!socket.destroyed) socket.write(answerBytes('1.0', first));
    const last = await ask(() => next(gone.signal), true);
    socket.off('close', onClose);
    if (!socket.destroyed) endWith(socket, last, '1.0');
  };

  /** The answer is being written to its end; then the connection may bring another request. */
  const finishing = (connection: Connection, response: ServerResponse) => {
    const { socket } = response;
    connection.state = 'answering';
    response.once('finish', () => {
      if (connection.state === 'answering') connection.state = 'idle';
      if (connection.last) socket?.destroy();
    });
  };

  /** Sends an answer whose end is not known yet. Until then the connection is in `handling`: a request that comes is not done. */
  const answerInParts = async (
    connection: Connection,
    response: ServerResponse,
    answer: HttpAnswer & Required<Pick<HttpAnswer, 'stream'>>,
    isLast: boolean,
  ): Promise<void> => {
    const { socket } = response;
    if (isLast) response.shouldKeepAlive = false;
    socket?.setTimeout(0);
    // A reader that vanished without a word shows by this where nothing is to be sent for a while.
    socket?.setKeepAlive(true, timings.stall);
    response.writeHead(answer.status, answerHeaders(answer).flat());
    response.on('error', () => socket?.destroy());
    response.flushHeaders();
    try {
      if (await sendStream(response, answer, timings.stall)) {
        finishing(connection, response);
        socket?.setTimeout(timings.stall);
        response.end();
      } else socket?.destroy();
    } catch (error) {
      options.failed?.(error);
      socket?.destroy();
    }
  };

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const connection = connections.get(socket);
    if (!connection || connection.state === 'ended') return;
    if (connection.state === 'handling') {
      // A pipelined request: the connection ends with the answer before it, so the client knows that it was not done.
      connection.last = true;
      return;
    }
    if (connection.state === 'waiting') {
      socket.destroy();
      return;
    }
    if (!connections.mayAsk(connection)) {
      socket.destroy();
      return;
    }
    connection.state = 'handling';
    const body = requestBody(request, options.maxBody, timings.body);
    const refused = whyNotHandled(request);
    const http10 = request.httpVersionMinor === 0;
    const answer: ListenerAnswer =
      refused ?? (await ask(() => options.handle(incoming(request, connection, body.read)), http10));
    if (answer.next && http10) {
      await answerTwice(socket, connection, answer, (gone) => answer.next?.(gone) ?? Promise.resolve(answer));
      return;
    }
    const { stream } = answer;
    if (stream) {
      await answerInParts(connection, response, { ...answer, stream }, connection.last || !body.isWhole());
      return;
    }
    if (socket.destroyed) return;

    if (http10 || refused || connection.last || !response.shouldKeepAlive || !body.isWhole()) {
      endWith(socket, answer, http10 ? '1.0' : '1.1', request);
      return;
    }
    finishing(connection, response);
    response.writeHead(answer.status, answerHeaders(answer).flat());
    socket.setTimeout(0);
    if (await writeAll(response, answer.body, timings.stall)) response.end();
    else socket.destroy();
  };

  const refuseWith = (status: number, error: string) => (request: IncomingMessage) =>
    endWith(request.socket, refusal(status, error), request.httpVersionMinor === 0 ? '1.0' : '1.1', request);

  server.on('request', (request, response) => {
    serve(request, response).catch((error: unknown) => {
      options.failed?.(error);
      request.socket.destroy();
    });
  });
  server.on('checkContinue', refuseWith(417, 'expectations are not supported'));
  server.on('checkExpectation', refuseWith(417, 'expectations are not supported'));
  server.on('upgrade', refuseWith(400, 'upgrades are not supported'));
  server.on('connect', refuseWith(405, 'method not allowed'));
  server.on('clientError', (error: NodeJS.ErrnoException, stream: Duplex) => {
    const socket = stream as Socket;
    const state = connections.get(socket)?.state;
    if (state === 'ended') return;
    // While a request is under way, anything written now would look like its answer.
    if (!socket.writable || (state !== 'idle' && state !== 'answering') || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    if (state === 'answering') {
      socket.destroySoon();
      return;
    }
    const status = statusOfParserError[error.code ?? ''] ?? 400;
    endWith(socket, refusal(status, wordsOfStatus[status] ?? 'bad request'), '1.1');
  });
}
