import { err, type Result } from 'neverthrow';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { type HttpAnswer, jsonAnswer } from '../../../src/domain/protocol/http-message.js';
import type { Certificate } from '../../../src/domain/trust/certificate.js';
import type {
  Channel,
  ChannelAnswer,
  ChannelError,
  ChannelTarget,
  ConnectOptions,
  Credentials,
  Exchange,
  ExchangeError,
} from '../../../src/ports/channel.js';
import type { IncomingRequest, Listener, Listening, ListenOptions } from '../../../src/ports/listener.js';
import { value } from '../../contract/result.js';
import { type TestCa, testCa } from './test-pki.js';

/** A listener and channels that reach it. */
export interface Network {
  /** Where a channel finds the listener. */
  readonly host: string;
  /** The source address that the listener sees. */
  readonly address: string;
  readonly listener: Listener;
  channel(): Channel;
}

/** What most tests of a network need; made once a file, it is never changed. */
export interface Identities {
  readonly ca: TestCa;
  readonly otherCa: TestCa;
  readonly agent: Credentials;
  readonly dispatcher: Credentials;
}

export async function makeIdentities(): Promise<Identities> {
  const [ca, otherCa] = await Promise.all([testCa(), testCa()]);
  const [agent, dispatcher] = await Promise.all([
    ca.issue({ commonName: 'agent', usages: ['serverAuth'] }),
    ca.issue({ commonName: 'dispatcher', usages: ['clientAuth'] }),
  ]);
  return { ca, otherCa, agent, dispatcher };
}

const crypto = nodeCrypto();

export const certificateOf = ({ certificate }: Credentials): Certificate =>
  value(crypto.readCertificate(certificate));

/** Answers with what it was asked. */
export const echo = async (request: IncomingRequest): Promise<HttpAnswer> => {
  const body = await request.body();
  return body.match(
    (bytes) =>
      jsonAnswer(200, {
        path: request.path,
        query: request.query,
        body: Buffer.from(bytes).toString('utf8'),
        client: request.peer.certificate?.commonName,
      }),
    (error) => jsonAnswer(413, { error: error.code }),
  );
};

export const listenOptions = (
  { ca, agent }: Identities,
  options: Partial<ListenOptions> = {},
): ListenOptions => ({
  bind: '127.0.0.1',
  port: 0,
  credentials: agent,
  clientCas: [ca.pem],
  maxBody: 1_048_576,
  maxConnections: 1_024,
  handle: echo,
  ...options,
});

/** Listens, or fails the test. */
export const listen = async (listener: Listener, options: ListenOptions): Promise<Listening> =>
  value(await listener.listen(options));

/** The listener, as the dispatcher reaches it. */
export const channelTargetOf = (
  { ca, dispatcher }: Identities,
  host: string,
  port: number,
  target: Partial<ChannelTarget> = {},
): ChannelTarget => ({
  host,
  port,
  credentials: dispatcher,
  trust: [ca.pem],
  key: `${host} ${port}`,
  ...target,
});

export const exchangeOf = <E = never>(request: Partial<Exchange<E>> = {}): Exchange<E> => ({
  method: 'POST',
  path: '/ping',
  query: '',
  headers: [['content-type', 'application/json']],
  body: new TextEncoder().encode('{}'),
  answerTimeout: 20_000,
  maxAnswer: 16 * 1_048_576,
  ...request,
});

/** What `askOver` asks: `connecting` says how to connect. */
export type Asked<E = never> = Partial<Exchange<E>> & { readonly connecting?: Partial<ConnectOptions> };

/** An answer, with the certificate of the connection that it came on. */
export type AnsweredBy = ChannelAnswer & { readonly peer: Certificate };

/** Connects, asks and gives the connection back; once more where a kept one turned out to be closed. */
export async function askOver<E = never>(
  channel: Channel,
  target: ChannelTarget,
  { connecting, ...request }: Asked<E> = {},
): Promise<Result<AnsweredBy, ChannelError | ExchangeError<E>>> {
  const options = { timeout: 20_000, signal: request.signal, ...connecting };
  for (let fresh = options.fresh ?? false; ; fresh = true) {
    const connected = await channel.connect(target, { ...options, fresh });
    if (connected.isErr()) return err(connected.error);
    const { peer, kept, release, discard, exchange } = connected.value;
    const answered = await exchange<E>(exchangeOf(request));
    if (answered.isOk()) release();
    else discard();
    if (answered.isOk() || answered.error.sent || !kept)
      return answered.map((answer) => ({ ...answer, peer }));
  }
}

export const jsonOf = (answer: HttpAnswer | ChannelAnswer): Record<string, unknown> =>
  JSON.parse(Buffer.from(answer.body).toString('utf8'));

/** A promise with its ends outside. */
export function deferred<T = void>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
