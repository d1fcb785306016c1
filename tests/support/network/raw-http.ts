import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import type { HeaderList, HttpAnswer } from '../../../src/domain/protocol/http-message.js';
import type { Certificate } from '../../../src/domain/trust/certificate.js';
import type { Credentials } from '../../../src/ports/channel.js';
import {
  checkAnswer,
  type RequestOnWire,
  type Signer,
  signRequest,
} from '../../../src/sdk/protocol/message-signing.js';
import { value } from '../../contract/result.js';

const crypto = nodeCrypto();

const signerOf = ({ key, certificate }: Credentials): Signer => ({
  key: value(crypto.signingKey(key)),
  certificate: value(crypto.readCertificate(certificate)),
});

const shown = new WeakMap<TLSSocket, Certificate>();

/** The certificate that the other end of a connection showed. Node tells it once. */
export function shownOn(socket: TLSSocket): Certificate {
  const known = shown.get(socket);
  if (known) return known;
  const presented = socket.getPeerX509Certificate();
  if (!presented) throw new Error('the peer showed no certificate');
  const certificate = value(crypto.readCertificate(presented.raw));
  shown.set(socket, certificate);
  return certificate;
}

/** How a request is signed; by default as a dispatcher signs it that sends it over this connection. */
export interface SigningOptions {
  /** Send it without a signature. */
  readonly unsigned?: boolean;
  /** When it is signed, epoch milliseconds. Default: now. */
  readonly signedAt?: number;
  /** SubjectPublicKeyInfo of the agent that it is signed for. Default: of who answers the connection. */
  readonly target?: Uint8Array;
  /** Who signs. Default: whose connection it is. */
  readonly signer?: Credentials;
  readonly nonce?: Uint8Array;
}

/** A request with the headers of its signature. Its headers must hold host and, with a body, content-type. */
export function signedFor(
  socket: TLSSocket,
  who: Credentials,
  request: RequestOnWire,
  options: SigningOptions = {},
): RequestOnWire {
  if (options.unsigned) return request;
  const signature = signRequest(crypto, signerOf(options.signer ?? who), request, {
    targetSpki: options.target ?? shownOn(socket).spki,
    now: options.signedAt ?? Date.now(),
    nonce: options.nonce ?? randomBytes(16),
  });
  return { ...request, headers: [...request.headers, ...signature] };
}

/** The bytes of a request; `Content-Length` comes on top of its headers. */
export function bytesOf({ method, path, query, headers, body }: RequestOnWire, version = '1.1'): Buffer {
  const length: HeaderList = body.length > 0 ? [['content-length', String(body.length)]] : [];
  const lines = [...headers, ...length].map(([name, value]) => `${name}: ${value}`);
  const head = [`${method} ${path}${query} HTTP/${version}`, ...lines, '', ''].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** An answer in the bytes that came, one character each. */
export function parseAnswer(text: string): HttpAnswer {
  const end = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, Math.max(0, end)).split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(first)?.[1]);
  if (!status) throw new Error(`no answer: ${JSON.stringify(text.slice(0, 200))}`);
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status, headers, body: Buffer.from(text.slice(end + 4), 'latin1') };
}

/** Throws unless a dispatcher that had sent this request would take this for the answer of who the connection showed. */
export function mustVerify(answer: HttpAnswer, request: RequestOnWire, certificate: Certificate): void {
  checkAnswer(crypto, answer, request, { certificate, now: Date.now() }).mapErr((reason) => {
    throw new Error(`a dispatcher would not take the answer (status ${answer.status}): ${reason}`);
  });
}

/** The next answer on a connection that stays open. */
export const nextAnswer = (socket: TLSSocket): Promise<HttpAnswer> =>
  new Promise((resolve, reject) => {
    let text = '';
    const settle = (work: () => void) => {
      socket.off('data', onData);
      socket.off('close', onClose);
      work();
    };
    const onClose = () => settle(() => reject(new Error('closed')));
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (!text.includes('\r\n\r\n')) return;
      const answer = parseAnswer(text);
      const length = Number(answer.headers.find(([name]) => name === 'content-length')?.[1]);
      if (answer.body.length >= length) settle(() => resolve(answer));
    };
    socket.on('data', onData);
    socket.on('close', onClose);
  });

/** One signed request over a connection that stays open, and its answer, verified. */
export async function askOver(
  socket: TLSSocket,
  who: Credentials,
  path: string,
  body?: string,
  options: SigningOptions = {},
): Promise<HttpAnswer> {
  const request = signedFor(socket, who, requestOf(path, body), options);
  const answer = nextAnswer(socket);
  socket.write(bytesOf(request));
  mustVerify(await answer, request, shownOn(socket));
  return answer;
}

/** A request of a path; with a body it is a POST. */
export const requestOf = (path: string, body?: string): RequestOnWire => ({
  method: body === undefined ? 'GET' : 'POST',
  path,
  query: '',
  headers: [
    ['host', 'agent.test:7443'],
    ...(body === undefined ? [] : [['content-type', 'application/json'] as const]),
  ],
  body: new TextEncoder().encode(body ?? ''),
});
