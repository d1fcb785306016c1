import { randomBytes } from 'node:crypto';
import { createServer } from 'node:https';
import { memoryKeyStore } from '../../../src/adapters/memory/key-store.js';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { systemRandom } from '../../../src/adapters/node-crypto/random.js';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { base64url } from '../../../src/domain/core/bytes.js';
import { writePairingMessage } from '../../../src/domain/pairing/messages.js';
import { commitment, pairingCode, transcriptHash } from '../../../src/domain/pairing/transcript.js';
import type { Certificate, CertificateProfile } from '../../../src/domain/trust/certificate.js';
import type { Credentials } from '../../../src/ports/channel.js';
import { value } from '../../contract/result.js';
import { atEnd } from '../commands/commands.js';
import { listening } from '../network/raw-tls.js';
import { bytesOf } from './peer.js';

const crypto = nodeCrypto();
const hour = 3_600_000;

type Message = Readonly<Record<string, unknown>>;

interface ServedAnswer {
  readonly status: number;
  readonly body: Message;
}

/** Answers one message of a pairing; `drop` ends the connection without an answer. */
export type Serve = (
  step: string,
  message: Message,
) => Promise<ServedAnswer | 'drop'> | ServedAnswer | 'drop';

export interface PairingServer {
  readonly port: number;
  /** The steps that were asked for, in their order. */
  readonly steps: readonly string[];
  /** Connections from now on see another certificate. */
  present(credentials: Credentials): void;
}

/** Something on a port of this host that agents take for a dispatcher in pairing mode. Every answer ends its connection. */
export async function pairingServer(credentials: Credentials, serve: Serve): Promise<PairingServer> {
  const steps: string[] = [];
  const context = ({ key, certificate }: Credentials) => ({ key, cert: certificate });
  const server = createServer(context(credentials), (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const step = request.url?.split('/').at(-1) ?? '';
      steps.push(step);
      const answer = await serve(step, JSON.parse(Buffer.concat(chunks).toString()));
      if (answer === 'drop') return void request.socket.destroy();
      response.writeHead(answer.status, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify(writePairingMessage(answer.body)));
    });
  });
  server.on('tlsClientError', () => {});
  const port = await listening(server);
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port, steps, present: (other) => server.setSecureContext(context(other)) };
}

/** A CA of somebody else, which issues whatever it is asked for. */
export async function strangeCa() {
  const keyStore = memoryKeyStore();
  const authority = x509CertificateAuthority({ keyStore, random: systemRandom(), crypto });
  const validity = { notBefore: Date.now() - hour, notAfter: Date.now() + 24 * hour };
  const certificate = value(await authority.create(validity));
  const issue = async (profile: CertificateProfile, spki: Uint8Array): Promise<Certificate> =>
    value(await authority.issue(profile, spki, validity));
  return {
    certificate,
    issue,
    async credentials(profile: CertificateProfile): Promise<Credentials> {
      const key = value(await crypto.generateKey('p256'));
      const { spki } = value(crypto.signingKey(key));
      return { key, certificate: (await issue(profile, spki)).pem };
    },
  };
}

/** Where a dispatcher that is not the true one deviates from what it is asked. */
export interface ImpostorOptions {
  /** As which dispatcher it introduces itself. */
  readonly dispatcherId: string;
  /** What TLS presents. Default: a pairing certificate of its own CA. */
  readonly credentials?: Credentials;
  /** The CA and dispatcher certificates that it sends, PEM. Default: its own. */
  readonly caPem?: string | readonly string[];
  readonly dispatcherPem?: string;
  /** Signatures by which one CA vouches for another. Default: M2 carries none. */
  readonly endorsements?: readonly Uint8Array[];
  /** Issues the agent's certificate, PEM. Default: its own CA does. */
  readonly issue?: (host: string, spki: Uint8Array) => Promise<string>;
  /** Answers M5 instead; undefined: with a certificate. */
  readonly onConfirm?: (
    message: Message,
  ) => Promise<ServedAnswer | 'drop'> | ServedAnswer | 'drop' | undefined;
  /** Told the agent's M1 before M2; gives the session. Default: a random one. */
  readonly onStart?: (message: Message) => Promise<Uint8Array>;
  /** Told the agent's M3 before M4. */
  readonly onNonce?: (message: Message) => Promise<void>;
  /** Sends another nonce than it committed to. */
  readonly breaksCommitment?: boolean;
}

/**
 * The dispatcher's side of a pairing with a CA of its own: everything fits together, nothing is of the true dispatcher.
 * It issues without asking anybody.
 */
export async function impostor(options: ImpostorOptions) {
  const { dispatcherId } = options;
  const ca = await strangeCa();
  const credentials = options.credentials ?? (await ca.credentials({ kind: 'pairing', dispatcherId }));
  const dispatcher = await ca.credentials({ kind: 'dispatcher', dispatcherId });
  const caPems = [options.caPem ?? ca.certificate.pem].flat();
  const { endorsements } = options;
  const dispatcherPem = options.dispatcherPem ?? dispatcher.certificate;
  const derOf = (pem: string) => value(crypto.readCertificate(pem)).der;
  const nonce = new Uint8Array(randomBytes(32));
  let th = new Uint8Array();
  let code = '';
  let host = '';
  let csrSpki = new Uint8Array();
  let session = new Uint8Array();

  const serve: Serve = async (step, message) => {
    switch (step) {
      case 'start': {
        host = String(message['host']);
        const csr = value(await x509CertificateRequests().read(String(message['csr_pem'])));
        csrSpki = csr.spki.slice();
        session = ((await options.onStart?.(message)) ?? randomBytes(16)).slice() as typeof session;
        th = transcriptHash(crypto.sha256, {
          offer: [2],
          session,
          host,
          csrDer: csr.der,
          tlsSpki: value(crypto.readCertificate(credentials.certificate)).spki,
          caDer: caPems.map(derOf),
          dispatcherDer: [derOf(dispatcherPem)],
          endorsements,
        }).slice();
        const commit = commitment(crypto.sha256, th, nonce);
        const body = { v: 2, session, commit, dispatcher_id: dispatcherId, expires_in: 600 };
        const members = { ca_pem: caPems, dispatcher_pem: [dispatcherPem] };
        const vouching = endorsements && { ca_endorsements: endorsements.map(base64url) };
        return { status: 201, body: { ...body, ...members, ...vouching } };
      }
      case 'nonce': {
        await options.onNonce?.(message);
        code = pairingCode(crypto.sha256, th, bytesOf(message, 'nonce'), nonce);
        const shown = options.breaksCommitment ? new Uint8Array(randomBytes(32)) : nonce;
        return { status: 200, body: { v: 2, session, nonce: shown } };
      }
      case 'confirm': {
        const instead = await options.onConfirm?.(message);
        if (instead) return instead;
        const issue =
          options.issue ??
          (async (name: string, spki: Uint8Array) => (await ca.issue({ kind: 'agent', name }, spki)).pem);
        const pem = await issue(host, csrSpki);
        return { status: 200, body: { status: 'approved', name: host, cert_pem: pem } };
      }
      default:
        return { status: 200, body: { status: 'ok' } };
    }
  };
  return {
    credentials,
    serve,
    ca,
    /** As this side calculates it, after M3. */
    code: () => code,
    server: () => pairingServer(credentials, serve),
  };
}
