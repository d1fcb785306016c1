import { type IncomingMessage, STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { Socket } from 'node:net';
import type { HeaderList, HttpAnswer } from '../../domain/protocol/http-message.js';
import { writeAll } from './stream.js';
import type { ListenerTimings } from './timings.js';

/** The framing is this adapter's: what a handler says about it does not count. */
const framing = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'trailer',
  'transfer-encoding',
]);

/** The headers of an answer, with its exact length where that is known. Throws where a handler made one that HTTP cannot carry. */
export function answerHeaders(answer: HttpAnswer): HeaderList {
  const { status } = answer;
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new Error(`no such status: ${status}`);
  const own = answer.headers.filter(([name]) => !framing.has(name.toLowerCase()));
  for (const [name, value] of own) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
  return status === 204 || answer.stream ? own : [...own, ['content-length', String(answer.body.length)]];
}

/** `content-type` as `Content-Type`: readers of deployed peers compare header names as they are written there. */
const capitalised = (name: string) => name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());

/**
 * The whole of an answer in bytes: in HTTP/1.1 a connection's last, in HTTP/1.0 in the form of deployed peers, which one
 * connection may carry several of.
 */
export function answerBytes(version: '1.0' | '1.1', answer: HttpAnswer): Buffer {
  const headers = answerHeaders(answer);
  const lines = [
    `HTTP/${version} ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`,
    ...headers.map(([name, value]) => `${version === '1.0' ? capitalised(name) : name}: ${value}`),
    ...(version === '1.0' ? [] : [`date: ${new Date().toUTCString()}`, 'connection: close']),
  ];
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return answer.status === 204 || answer.status === 304 ? head : Buffer.concat([head, answer.body]);
}

/**
 * Writes a connection's last bytes, then reads on for a moment: closing while the peer still sends would reset the
 * connection, and the peer would lose the answer.
 */
export function sendLast(
  socket: Socket,
  bytes: Uint8Array,
  timings: Pick<ListenerTimings, 'stall' | 'linger'>,
  unread?: IncomingMessage,
): void {
  let lingering: NodeJS.Timeout | undefined;
  socket.setTimeout(0);
  socket.once('finish', () => {
    lingering = setTimeout(() => socket.destroy(), timings.linger);
  });
  socket.once('close', () => clearTimeout(lingering));
  void writeAll(socket, bytes, timings.stall).then((taken) => {
    if (!taken) socket.destroy();
    else socket.end();
  });
  unread?.resume();
  socket.resume();
}
