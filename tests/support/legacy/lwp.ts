import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { legacyTls } from './accept.js';
import type { LegacyIdentity } from './ca.js';

/** An answer as LWP understood it. */
export interface LwpAnswer {
  /** 500 also where LWP could not get one; `line` then says why. */
  readonly status: number;
  /** Status and words: `403 Error`. */
  readonly line: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** Everything that came, exactly. */
  readonly bytes: Buffer;
}

export interface LwpRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** JSON text, one byte a character. Only with POST. */
  readonly body?: Buffer;
}

/**
 * The bytes of a request as LWP sends it to `host:port`: captures/dispatcher-run.http; without a body the last two header
 * lines are missing (seen with libwww-perl 6.68).
 */
function lwpBytes(host: string, port: number, { method, path, body }: LwpRequest): Buffer {
  const head = [
    `${method} ${path} HTTP/1.1`,
    'TE: deflate,gzip;q=0.3',
    'Connection: TE, close',
    `Host: ${host}:${port}`,
    'User-Agent: libwww-perl/6.68',
    ...(body ? [`Content-Length: ${body.length}`, 'Content-Type: application/json'] : []),
    '',
    '',
  ].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), body ?? Buffer.alloc(0)]);
}

/** The chunks up to the last one, which is empty; undefined while they have not all come. */
function unchunked(bytes: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (size === 0) return Buffer.concat(chunks);
    if (bytes.length < end + 2 + size + 2) return undefined;
    chunks.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

/**
 * Reads an answer of HTTP/1.0 or 1.1; header names of any case. The body is as long as Content-Length says, or chunked, or
 * everything until the end of the connection, and is not decoded (legacy facts 6).
 * @returns undefined while it has not all come
 */
function readAnswer(bytes: Buffer, ended: boolean): LwpAnswer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const [, status = '', words = ''] = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(first) ?? [];
  if (status === '') return undefined;
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const rest = bytes.subarray(end + 4);
  const whole = (body: Buffer): LwpAnswer => ({
    status: Number(status),
    line: `${status} ${words}`,
    headers,
    body,
    bytes,
  });
  if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') {
    const body = unchunked(rest);
    return body && whole(body);
  }
  const length = headers.get('content-length');
  if (length === undefined) return ended ? whole(rest) : undefined;
  return rest.length >= Number(length) || ended ? whole(rest.subarray(0, Number(length))) : undefined;
}

const failed = (line: string, bytes: Buffer): LwpAnswer => ({
  status: 500,
  line: `500 ${line}`,
  headers: new Map(),
  body: Buffer.from(line),
  bytes,
});

/**
 * One request as LWP makes it, over a connection of its own: shows the certificate, verifies the chain to the CA and no host
 * name, sends all at once, reads one answer and closes. Never rejects.
 */
export const lwpAsk = (
  { key, certificate, ca }: LegacyIdentity,
  host: string,
  port: number,
  request: LwpRequest,
): Promise<LwpAnswer> =>
  new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    let reason = 'Server closed connection without sending any data back';
    const socket = connect({
      ...legacyTls,
      host,
      port,
      key,
      cert: certificate,
      ca,
      ...(isIP(host) ? {} : { servername: host }),
      checkServerIdentity: () => undefined,
    });
    const settle = (answer: LwpAnswer) => {
      resolve(answer);
      socket.end();
      socket.destroySoon();
    };
    socket.once('secureConnect', () => socket.write(lwpBytes(host, port, request)));
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const answer = readAnswer(bytes, false);
      if (answer) settle(answer);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (bytes.length === 0) reason = `Can't connect to ${host}:${port} (${error.code ?? error.message})`;
    });
    socket.once('close', () => resolve(readAnswer(bytes, true) ?? failed(reason, bytes)));
  });
