import { randomBytes } from 'node:crypto';
import { request } from 'node:https';
import type { SecureVersion, TLSSocket } from 'node:tls';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { fromBase64url, hex } from '../../../src/domain/core/bytes.js';
import type { JoinToken } from '../../../src/domain/pairing/join-token.js';
import { writePairingMessage } from '../../../src/domain/pairing/messages.js';
import {
  confirmMessage,
  installedMessage,
  joinAgentMessage,
  joinKeyInfo,
  pairingCode,
  transcriptHash,
} from '../../../src/domain/pairing/transcript.js';
import { value } from '../../contract/result.js';

const crypto = nodeCrypto();

type Message = Readonly<Record<string, unknown>>;

/** An answer of a pairing port, and the key that TLS showed. */
interface PairingAnswer {
  readonly status: number;
  readonly body: Message;
  readonly tlsSpki: Uint8Array;
}

/** Sends a body to a step (`start`, `nonce`, …) of a pairing port. */
export type Post = (step: string, body: string) => Promise<PairingAnswer>;

/** Over TLS to a port of this host, each message on a connection of its own. */
export const postTo =
  (
    port: number,
    options: { readonly localAddress?: string; readonly maxVersion?: SecureVersion } = {},
  ): Post =>
  (step, body) =>
    new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port,
          method: 'POST',
          path: `/pair/v2/${step}`,
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
          agent: false,
          rejectUnauthorized: false,
          ...options,
        },
        (answer) => {
          const leaf = (answer.socket as TLSSocket).getPeerX509Certificate();
          const tlsSpki = new Uint8Array(leaf?.publicKey.export({ type: 'spki', format: 'der' }) ?? []);
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.once('error', reject);
          answer.once('end', () =>
            resolve({
              status: answer.statusCode ?? 0,
              body: JSON.parse(Buffer.concat(chunks).toString()),
              tlsSpki,
            }),
          );
        },
      );
      sent.once('error', reject);
      sent.end(body);
    });

export const bytesOf = (message: Message, member: string): Uint8Array => {
  const bytes = fromBase64url(String(message[member]));
  if (!bytes) throw new Error(`${member} is not base64url`);
  return bytes;
};

const dersOf = (message: Message, member: string): readonly Uint8Array[] =>
  (message[member] as readonly string[]).map((pem) => value(crypto.readCertificate(pem)).der);

/** An agent's side of a pairing, message by message; it judges nothing, and sends whatever it is told to. */
export interface PairingPeer {
  readonly host: string;
  /** M1, with other members where given; a member that is undefined is left out. */
  start(other?: Message): Promise<PairingAnswer>;
  /** M3. Default: this peer's nonce. */
  nonce(other?: Message): Promise<PairingAnswer>;
  /** M5. */
  confirm(other?: Message): Promise<PairingAnswer>;
  /** M6, over the certificate of the approval. */
  installed(other?: Message): Promise<PairingAnswer>;
  /** Of the session, in hex. */
  id(): string;
  /** After M4. */
  code(): string;
}

const endorsementsOf = (message: Message): readonly Uint8Array[] | undefined => {
  const sent = message['ca_endorsements'] as readonly string[] | undefined;
  return sent?.map((text) => fromBase64url(text) ?? new Uint8Array());
};

/** A peer with a fresh key; with a join token it names it in M1 and proves it in M3. */
export async function pairingPeer(post: Post, host: string, token?: JoinToken): Promise<PairingPeer> {
  const keyPem = value(await crypto.generateKey('p256'));
  const key = value(crypto.signingKey(keyPem));
  const requests = x509CertificateRequests();
  const csrPem = value(await requests.create(keyPem, host));
  const csrDer = value(await requests.read(csrPem)).der;
  const agentNonce = new Uint8Array(randomBytes(32));
  let session = new Uint8Array(16);
  let th = new Uint8Array(32);
  let commit = new Uint8Array(32);
  let dispatcherNonce = new Uint8Array(32);
  let certificateDer = new Uint8Array();
  const send = (step: string, message: Message, other: Message) =>
    post(step, JSON.stringify(writePairingMessage({ ...message, ...other })));

  return {
    host,
    async start(other = {}) {
      const message = {
        v: 2,
        offer: [2],
        host,
        csr_pem: csrPem,
        port: 7443,
        lookup_by: 'ip',
        join: token?.id,
      };
      const answer = await send('start', message, other);
      if (answer.status !== 201) return answer;
      session = bytesOf(answer.body, 'session').slice();
      th = transcriptHash(crypto.sha256, {
        offer: [2],
        session,
        host: String(other['host'] ?? host),
        csrDer,
        tlsSpki: answer.tlsSpki,
        caDer: dersOf(answer.body, 'ca_pem'),
        dispatcherDer: dersOf(answer.body, 'dispatcher_pem'),
        joinId: token?.id,
        endorsements: endorsementsOf(answer.body),
      }).slice();
      commit = bytesOf(answer.body, 'commit').slice();
      return answer;
    },
    async nonce(other = {}) {
      const proof = token && {
        mac: crypto.hmacSha256(
          crypto.hkdfSha256(token.secret, token.id, joinKeyInfo, 32),
          joinAgentMessage(th, commit, agentNonce),
        ),
      };
      const answer = await send('nonce', { v: 2, session, nonce: agentNonce, ...proof }, other);
      if (answer.status === 200) dispatcherNonce = bytesOf(answer.body, 'nonce').slice();
      return answer;
    },
    async confirm(other = {}) {
      const sig = key.sign(confirmMessage(th, agentNonce, dispatcherNonce));
      const answer = await send('confirm', { v: 2, session, sig }, other);
      const { cert_pem: pem } = answer.body;
      if (typeof pem === 'string') certificateDer = value(crypto.readCertificate(pem)).der.slice();
      return answer;
    },
    installed(other = {}) {
      const sig = key.sign(installedMessage(crypto.sha256, th, certificateDer));
      return send('installed', { v: 2, session, sig }, other);
    },
    id: () => hex(session),
    code: () => pairingCode(crypto.sha256, th, agentNonce, dispatcherNonce),
  };
}

/** A peer whose code the dispatcher shows. */
export async function openPeer(post: Post, host: string): Promise<PairingPeer> {
  const peer = await pairingPeer(post, host);
  for (const answer of [await peer.start(), await peer.nonce()])
    if (answer.status >= 300) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return peer;
}
