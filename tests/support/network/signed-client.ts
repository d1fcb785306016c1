import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import type { HeaderList } from '../../../src/domain/protocol/http-message.js';
import type { Certificate } from '../../../src/domain/trust/certificate.js';
import type { Credentials } from '../../../src/ports/channel.js';
import { checkAnswer, type RequestOnWire, signRequest } from '../../../src/sdk/protocol/message-signing.js';
import { value } from '../../contract/result.js';
import { atEnd } from '../commands/commands.js';
import { openTls } from './raw-tls.js';

const crypto = nodeCrypto();

/** What is asked of an agent: `GET` without a body, else `POST`. */
interface Asked {
  readonly path: string;
  readonly body?: unknown;
}

interface Signing {
  /** When the request says that it was made, epoch milliseconds. Default: now. */
  readonly at?: number;
  /** Seconds for which it says that it holds. Default: 60. */
  readonly lifetime?: number;
  /** The key that it is meant for. Default: the one of the connection. */
  readonly target?: Certificate;
}

/** A request as it goes over the connection. */
export interface Composed {
  readonly onWire: RequestOnWire;
  readonly bytes: Buffer;
}

interface WireAnswer {
  readonly status: number;
  readonly body: unknown;
  /** `holds`, or why the answer is not one of this agent to this request. */
  readonly signature: string;
}

/** A connection of somebody who holds a dispatcher's key, and writes what it likes. */
export interface SignedConnection {
  readonly socket: TLSSocket;
  /** The certificate that the agent has shown. */
  readonly agent: Certificate;
  /** A request that is signed as a dispatcher signs it, or as `how` says. */
  compose(asked: Asked, how?: Signing): Composed;
  /** Writes a request, signed by its own headers or not at all, and reads its answer. */
  send(request: Composed): Promise<WireAnswer>;
  /** Composes and sends. */
  ask(asked: Asked, how?: Signing): Promise<WireAnswer>;
}

/** The bytes of an HTTP/1.1 request. */
function inBytes({ method, path, headers, body }: RequestOnWire): Buffer {
  const length: HeaderList = body.length > 0 ? [['content-length', String(body.length)]] : [];
  const lines = [...headers, ...length].map(([name, value]) => `${name}: ${value}`);
  return Buffer.concat([
    Buffer.from(`${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`, 'latin1'),
    body,
  ]);
}

/** The same request without some of its headers, or with another body behind the same ones. */
export function altered({ onWire }: Composed, change: { without?: RegExp; body?: string }): Composed {
  const headers = onWire.headers.filter(([name]) => !change.without?.test(name));
  const body = change.body === undefined ? onWire.body : new TextEncoder().encode(change.body);
  const made = { ...onWire, headers, body };
  return { onWire: made, bytes: inBytes(made) };
}

/** Status, headers and body of the first answer in these bytes, once all of it is there. */
function readAnswer(bytes: Buffer): { status: number; headers: HeaderList; body: Buffer } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const length = Number(headers.find(([name]) => name === 'content-length')?.[1] ?? Number.NaN);
  if (Number.isNaN(length)) throw new Error(`an answer without a length: ${first}`);
  const body = bytes.subarray(end + 4, end + 4 + length);
  if (body.length < length) return undefined;
  return { status: Number(first.split(' ')[1]), headers, body };
}

const answerOn = (socket: TLSSocket): Promise<NonNullable<ReturnType<typeof readAnswer>>> =>
  new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const settle = (work: () => void) => {
      socket.off('data', onData);
      socket.off('close', onClose);
      work();
    };
    const onClose = () =>
      settle(() => reject(new Error(`closed after ${bytes.length} bytes: ${bytes.toString('latin1')}`)));
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      try {
        const answer = readAnswer(bytes);
        if (answer) settle(() => resolve(answer));
      } catch (thrown) {
        settle(() => reject(thrown));
      }
    };
    socket.on('data', onData);
    socket.on('close', onClose);
  });

const parsed = (body: Buffer): unknown => {
  const text = body.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

/** Connects to an agent of this host with a dispatcher's key. The connection is closed at the end. */
export async function signedConnection(port: number, who: Credentials): Promise<SignedConnection> {
  const certificate = value(crypto.readCertificate(who.certificate));
  const signer = { key: value(crypto.signingKey(who.key)), certificate };
  const socket = await openTls(port, who);
  atEnd(() => socket.destroy());
  const presented = socket.getPeerX509Certificate();
  if (!presented) throw new Error('the agent has shown no certificate');
  const agent = value(crypto.readCertificate(presented.raw));

  const compose = ({ path, body }: Asked, { at, lifetime, target = agent }: Signing = {}): Composed => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers: HeaderList = [
      ['host', `127.0.0.1:${port}`],
      ...(body === undefined ? [] : ([['content-type', 'application/json']] as const)),
    ];
    const bare = {
      method: body === undefined ? 'GET' : 'POST',
      path,
      query: '',
      headers,
      body: new TextEncoder().encode(text),
    };
    const signature = signRequest(crypto, signer, bare, {
      targetSpki: target.spki,
      now: at ?? Date.now(),
      nonce: randomBytes(16),
      ...(lifetime !== undefined && { lifetime }),
    });
    const onWire = { ...bare, headers: [...headers, ...signature] };
    return { onWire, bytes: inBytes(onWire) };
  };

  const send = async ({ onWire, bytes }: Composed): Promise<WireAnswer> => {
    const arriving = answerOn(socket);
    socket.write(bytes);
    const { status, headers, body } = await arriving;
    const verdict = checkAnswer(crypto, { status, headers, body }, onWire, {
      certificate: agent,
      now: Date.now(),
    });
    return {
      status,
      body: parsed(body),
      signature: verdict.match(
        () => 'holds',
        (reason) => reason,
      ),
    };
  };

  return { socket, agent, compose, send, ask: (asked, how) => send(compose(asked, how)) };
}
