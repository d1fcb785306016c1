import { randomBytes } from 'node:crypto';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { utf8 } from '../../../src/domain/core/bytes.js';
import { jsonAnswer } from '../../../src/domain/protocol/http-message.js';
import type { Credentials } from '../../../src/ports/channel.js';
import { value } from '../../contract/result.js';
import { crypto, dispatcherHost, type MemoryFleet, pairingPort } from '../fleet/memory-fleet.js';
import type { TestCa } from '../network/test-pki.js';

type Message = Readonly<Record<string, unknown>>;
const read = (body: Uint8Array): Record<string, unknown> => JSON.parse(Buffer.from(body).toString());

/** An agent of version 1 in a memory network: its key, its request, and the answers to it. */
export async function legacyJoiner(
  fleet: Pick<MemoryFleet, 'network'>,
  host: string,
  address = '192.0.2.50',
) {
  const keyPem = value(await crypto.generateKey('p256'));
  const csr = value(await x509CertificateRequests().create(keyPem, host));
  const nonce = randomBytes(16).toString('hex');
  const message: Message = { hostname: host, csr, nonce };
  return {
    keyPem,
    csr,
    nonce,
    spki: value(crypto.signingKey(keyPem)).spki,
    /** Sends the request; `first` is what comes at once. */
    async ask(other: Message = {}) {
      const exchange = value(
        await fleet.network.legacyPairing(address).request({
          host: dispatcherHost,
          port: pairingPort,
          body: utf8(JSON.stringify({ ...message, ...other })),
          connectTimeout: 5_000,
          answerTimeout: 5_000,
        }),
      );
      return {
        first: read(exchange.first.body),
        status: exchange.first.status,
        second: () => exchange.second(20_000).map(({ body }) => read(body)),
        hangUp: exchange.close,
      };
    },
  };
}

/** How a scripted dispatcher of version 1 deviates from a true one. */
export interface LegacyImpostor {
  readonly ca: TestCa;
  /** Its own certificate, which it presents at pairing. */
  readonly own: Credentials;
  /** The second answer in place of the true one; undefined: that of `approved`. */
  readonly decide?: (asked: Message, approved: () => Promise<Message>) => Promise<Message>;
  /** The first answer to `POST /pair`, in place of `pending`. */
  readonly first?: Message;
  /** What is said to M1. Default: what deployed dispatchers say to everything that they do not know. */
  readonly toStart?: { readonly status: number; readonly body: Message };
  /** Usages and names of the certificate that it issues. Default: version 1, without any. */
  readonly issue?: Parameters<TestCa['issue']>[0];
}

/** A dispatcher that knows version 1 only, on `legacy.test`; `paths` is what it was asked. */
export async function legacyControl(fleet: MemoryFleet, script: LegacyImpostor, host = 'legacy.test') {
  const paths: string[] = [];
  const asked: Message[] = [];
  const serialOf = ({ certificate }: Credentials) => value(crypto.readCertificate(certificate)).serial;
  const approvedFor = async (message: Message): Promise<Message> => {
    const request = value(await x509CertificateRequests().read(String(message['csr'])));
    const { certificate } = await script.ca.issue({
      commonName: String(message['hostname']),
      version1: true,
      ...script.issue,
      spki: request.spki,
    });
    const { nonce } = message;
    const dispatcher = { dispatcher_serial: serialOf(script.own), dispatcher_id: 'old-control' };
    return { status: 'approved', cert: certificate, ca: script.ca.pem, nonce, ...dispatcher };
  };
  const listening = value(
    await fleet.network.listener(host).listen({
      bind: '',
      port: pairingPort,
      credentials: script.own,
      maxBody: 65_536,
      maxConnections: 9,
      handle: async ({ path, body }) => {
        paths.push(path);
        const message = read(value(await body()));
        if (!message['csr'] || !message['hostname']) {
          const { status, body: said } = script.toStart ?? {
            status: 200,
            body: { status: 'error', reason: 'invalid request' },
          };
          return jsonAnswer(status, said);
        }
        asked.push(message);
        if (script.first) return jsonAnswer(200, script.first);
        const approved = () => approvedFor(message);
        const decision = script.decide ? script.decide(message, approved) : approved();
        return {
          ...jsonAnswer(200, { status: 'pending', reqid: '3698ad2223d6b146' }),
          next: async () => jsonAnswer(200, await decision),
        };
      },
    }),
  );
  return { host, paths, asked, listening, serial: serialOf(script.own) };
}
