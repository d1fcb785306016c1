import { randomBytes, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { atEnd } from '../commands/commands.js';
import { acceptOneByOne } from './accept.js';
import { type LegacyCa, type LegacyIdentity, whyNotSigned } from './ca.js';
import { legacyPairingCode } from './pairing-client.js';
import { legacyAnswer } from './request.js';
import { type LegacyVersion, legacyTraits, normalSerial } from './versions.js';

export interface LegacyPairingServerOptions {
  readonly version: LegacyVersion;
  /** The dispatcher's: it is also what TLS presents. */
  readonly identity: LegacyIdentity;
  readonly ca: LegacyCa;
  /** Default `control`. Told from 0.9 on. */
  readonly dispatcherId?: string;
  /** Default 10. */
  readonly maxQueue?: number;
  /** Ten connections of one address in a minute, then nothing for five; 0.8.5 and later. Default off. */
  readonly rateLimit?: boolean;
  readonly now?: () => number;
}

/** A request in the queue. */
interface Pending {
  readonly reqid: string;
  readonly hostname: string;
  readonly csr: string;
  readonly nonce: string;
  readonly code: string;
  readonly ip: string;
  readonly lookupBy: unknown;
  readonly port: unknown;
}

/** A simulated dispatcher in pairing mode, for as long as the test or the file lasts. */
export interface LegacyPairingServer {
  readonly port: number;
  /** The bytes of everything that was asked, in the order of the first answers. */
  readonly requests: readonly Buffer[];
  readonly pending: () => readonly Pending[];
  /** Handshakes that failed or never began. */
  readonly failedHandshakes: () => number;
  /** Signs and sends the second answer; the record that the registry then has. Rejects, and the agent waits on, where the CSR is not signed. */
  approve(reqid: string): Promise<Readonly<Record<string, unknown>>>;
  /** Sends the second answer. Default reason: what the operator's no sends; `approval timeout` after 600 s. */
  deny(reqid: string, reason?: 'rejected by operator' | 'approval timeout'): void;
  close(): Promise<void>;
}

const maxBody = 64 * 1024;
const seconds = (epoch: number) => new Date(epoch).toISOString().replace(/\.\d+Z$/, 'Z');
const isFilled = (value: unknown): value is string => typeof value === 'string' && value !== '';

/**
 * The body of a request, when it has come: the header ends with an empty line that has its carriage return, its length is the
 * first `content-length:` anywhere in it. Method, path and version are not looked at (legacy facts 5).
 */
function bodyIn(bytes: Buffer): { readonly length: number; readonly body: Buffer | undefined } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [, digits = '0'] = /content-length:\s*(\d+)/i.exec(bytes.toString('latin1', 0, end)) ?? [];
  const length = Number(digits);
  const body = bytes.subarray(end + 4, end + 4 + length);
  return { length, body: body.length < length ? undefined : body };
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

/**
 * Starts the pairing port of a simulated legacy dispatcher on 127.0.0.1 (legacy facts 5): it presents the dispatcher's
 * certificate, asks for none, and answers twice. Whatever it does not understand, `POST /pair/v2/start` too, is answered 200
 * `{"status":"error","reason":"invalid request"}`.
 */
export async function startLegacyPairing(options: LegacyPairingServerOptions): Promise<LegacyPairingServer> {
  const { version, identity, ca, dispatcherId = 'control', maxQueue = 10, now = Date.now } = options;
  const { dispatcherIds, preflight: late, renewal } = legacyTraits[version];
  const queue = new Map<string, { readonly pending: Pending; readonly socket: TLSSocket }>();
  const requests: Buffer[] = [];
  let failedHandshakes = 0;

  const end = (socket: TLSSocket, body?: unknown) => {
    if (body !== undefined) socket.write(legacyAnswer(200, body));
    socket.destroySoon();
  };
  const refuse = (socket: TLSSocket, reason: string) => end(socket, { status: 'error', reason });

  const admit = (socket: TLSSocket, message: Readonly<Record<string, unknown>>) => {
    const { csr, hostname, nonce, lookup_by: lookupBy, port } = message;
    if (!isFilled(csr) || !isFilled(hostname)) return refuse(socket, 'invalid request');
    if (late && !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(hostname)) return refuse(socket, 'invalid hostname');
    if (queue.size >= maxQueue) return refuse(socket, 'pairing queue full');
    const reqid = randomBytes(8).toString('hex');
    const code = legacyPairingCode(csr);
    const ip = socket.remoteAddress ?? '';
    const pending = {
      reqid,
      hostname,
      csr,
      nonce: isFilled(nonce) ? nonce : '',
      code,
      ip,
      lookupBy: lookupBy === 'hostname' || lookupBy === 'ip' ? lookupBy : undefined,
      port: /^\d{1,5}$/.test(String(port)) ? Number(port) : undefined,
    };
    queue.set(reqid, { pending, socket });
    socket.write(legacyAnswer(200, { status: 'pending', reqid }));
  };

  const serve = (socket: TLSSocket) => {
    let bytes = Buffer.alloc(0);
    let done = false;
    const read = () => {
      const found = bodyIn(bytes);
      const tooLarge = renewal && found !== undefined && found.length > maxBody;
      if (done || !found || (!found.body && !tooLarge)) return;
      done = true;
      requests.push(bytes);
      if (tooLarge || !found.body) return refuse(socket, 'request too large');
      const message = parse(found.body);
      if (message === undefined || message === null) return refuse(socket, 'invalid request');
      // JSON that is no object ends the process that serves it.
      if (typeof message !== 'object' || Array.isArray(message)) return end(socket);
      admit(socket, message as Readonly<Record<string, unknown>>);
    };
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      read();
    });
  };

  const take = (reqid: string) => {
    const entry = queue.get(reqid);
    if (!entry) throw new Error(`no pairing request ${reqid}`);
    queue.delete(reqid);
    return entry;
  };

  const accepting = await acceptOneByOne({
    port: 0,
    tls: { key: identity.key, cert: identity.certificate },
    limitedBy: options.rateLimit ? now : undefined,
    serve,
    failed: () => {
      failedHandshakes += 1;
    },
  });
  atEnd(() => accepting.close());

  return {
    port: accepting.port,
    requests,
    pending: () => [...queue.values()].map(({ pending }) => pending),
    failedHandshakes: () => failedHandshakes,
    async approve(reqid) {
      const waiting = queue.get(reqid)?.pending;
      const reason = renewal && waiting ? whyNotSigned(waiting.csr) : undefined;
      if (reason !== undefined) throw new Error(reason);
      if (waiting && waiting.csr.length > 10_240) throw new Error('CSR too large');
      const { certificate } = ca.sign(waiting?.csr ?? '');
      const { pending, socket } = take(reqid);
      const serial = renewal ? normalSerial(identity.serial) : identity.serial;
      end(socket, {
        status: 'approved',
        cert: certificate,
        ca: ca.pem,
        nonce: pending.nonce,
        dispatcher_serial: serial,
        ...(dispatcherIds ? { dispatcher_id: dispatcherId } : {}),
      });
      const paired = seconds(now());
      return {
        hostname: pending.hostname,
        ip: pending.ip,
        paired,
        expiry: new X509Certificate(certificate).validTo,
        reqid,
        dispatcher_serial: serial,
        serial_status: 'current',
        serial_broadcast: '',
        serial_confirmed: paired,
        ...(late ? { lookup_by: pending.lookupBy ?? 'hostname', port: pending.port ?? 7443, tags: {} } : {}),
      };
    },
    deny(reqid, reason = 'rejected by operator') {
      end(take(reqid).socket, { status: 'denied', reason });
    },
    close: () => accepting.close(),
  };
}
