import { connect as connectTcp, isIP } from 'node:net';
import {
  type ConnectionOptions,
  connect as connectTls,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import {
  aborted,
  handshakeFailure,
  tcpFailure,
  timedOut,
  tlsFailed,
} from '../../domain/protocol/connection-failures.js';
import { aeadSuites } from '../../domain/protocol/tls-suites.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { ChannelError, ChannelTarget } from '../../ports/channel.js';
import type { Crypto } from '../../ports/crypto.js';

/** A connection over which nothing was sent yet. */
export interface Secured {
  readonly socket: TLSSocket;
  readonly peer: Certificate;
}

const maxContexts = 32;

/**
 * TLS contexts by what they are made of: making one costs about as much as a handshake, and a fleet shares one.
 * Throws where the credentials or the CAs cannot be used.
 */
export function tlsContexts() {
  const contexts = new Map<string, SecureContext>();
  return ({ credentials, trust, tls13Only = false }: ChannelTarget): SecureContext => {
    const key = JSON.stringify([tls13Only, credentials?.certificate, credentials?.key, trust]);
    const known = contexts.get(key);
    if (known) return known;
    const context = createSecureContext({
      minVersion: /* defence: agent-pairs-over-tls-1-3 */ tls13Only ? 'TLSv1.3' : 'TLSv1.2',
      ciphers: aeadSuites,
      ...(credentials ? { key: credentials.key, cert: credentials.certificate } : {}),
      ...(trust === 'any' ? {} : { ca: [...trust] }),
    });
    if (contexts.size >= maxContexts) contexts.clear();
    contexts.set(key, context);
    return context;
  };
}

/**
 * No `session` is ever offered: on a resumed one Node's client is shown no peer certificate, and there would be nothing
 * to judge.
 */
const tlsOptions = (target: ChannelTarget, secureContext: SecureContext): ConnectionOptions => ({
  secureContext,
  // Judged when the handshake is done: some legacy agents stop serving when one is broken off.
  rejectUnauthorized: false,
  checkServerIdentity: () => undefined,
  ...(isIP(target.host) ? {} : { servername: target.host }),
});

/** Milliseconds that a peer has to take leave, when its connection is closed without a request. */
const farewell = 1000;

/**
 * Closes a connection whose handshake is done: a reset at this moment would meet a peer that is still writing, and ends the
 * process of some legacy agents.
 */
export function takeLeave(socket: TLSSocket): void {
  const timer = setTimeout(() => socket.destroy(), farewell);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
  socket.end();
}

/** What the handshake would have checked of a peer that may be out of date: OpenSSL tells one objection of several only. */
const servedByTrusted = (crypto: Crypto, { trust }: ChannelTarget, peer: Certificate): boolean =>
  trust !== 'any' &&
  !peer.isCa &&
  (peer.usages?.includes('serverAuth') ?? true) &&
  trust.some((pem) =>
    crypto
      .readCertificate(pem)
      .map((ca) => crypto.issuedBy(peer, ca))
      .unwrapOr(false),
  );

/** Calls `stop` as soon as there is nobody any more who waits, also at once; gives what ends that. */
export type Interruption = (stop: () => void) => () => void;

/** TCP and TLS, and what the target wants of the peer's certificate, all within `timeout` milliseconds. */
export function openConnection(
  ports: { crypto: Crypto; contextOf(target: ChannelTarget): SecureContext },
  target: ChannelTarget,
  timeout: number,
  interrupted: Interruption,
): Promise<Result<Secured, ChannelError>> {
  return new Promise((resolve) => {
    let phase: 'connect' | 'tls' | 'done' = 'connect';
    let settled = false;
    let secured: TLSSocket | undefined;

    const tcp = connectTcp({
      host: target.host,
      port: target.port,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 1_000,
    });
    tcp.setNoDelay(true);
    const settle = (result: Result<Secured, ChannelError>) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      stopWaiting();
      if (result.isErr()) {
        if (secured && phase === 'done') takeLeave(secured);
        else {
          secured?.destroy();
          tcp.destroy();
        }
      }
      resolve(result);
    };
    const fail = (error: ChannelError) => settle(err(error));
    const onBroken = (thrown: unknown) => {
      if (phase === 'connect') fail(tcpFailure(target, thrown, timeout));
      else if (phase === 'tls') fail(handshakeFailure(target, thrown));
    };
    // These listeners stay: a socket that breaks while nobody waits for it must not end the process.
    tcp.on('error', onBroken);
    tcp.once('connect', () => {
      if (settled) return;
      phase = 'tls';
      try {
        secured = connectTls({ ...tlsOptions(target, ports.contextOf(target)), socket: tcp });
      } catch (thrown) {
        onBroken(thrown);
        return;
      }
      const socket = secured;
      socket.on('error', onBroken);
      socket.once('close', () => onBroken({ code: 'ECONNRESET' }));
      socket.once('secureConnect', () => {
        phase = 'done';
        const verified = target.trust === 'any' || target.allowExpired || socket.authorized;
        if (!verified) return fail(handshakeFailure(target, { code: String(socket.authorizationError) }));
        const presented = socket.getPeerX509Certificate();
        if (!presented) return fail(tlsFailed(target, 'NO_CERTIFICATE'));
        const read = ports.crypto.readCertificate(presented.raw);
        if (read.isErr()) return fail(tlsFailed(target, read.error.reason));
        const peer = read.value;
        if (target.allowExpired && !servedByTrusted(ports.crypto, target, peer))
          return fail(tlsFailed(target, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'));
        settle(ok({ socket, peer }));
      });
    });
    const timer = setTimeout(
      () => fail(timedOut(target, phase === 'connect' ? phase : 'tls', timeout)),
      timeout,
    );
    const stopWaiting = interrupted(() => fail(aborted()));
  });
}
