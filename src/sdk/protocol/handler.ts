import type { Result } from 'neverthrow';
import type { JsonObject } from '../../domain/core/decode.js';
import type { RequestRefusal } from '../../domain/protocol/request-signature.js';
import type { RunAsk } from '../../domain/protocol/run-messages.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { ConnectionPeer } from '../../ports/listener.js';
import type { OutputSink } from '../../ports/process-runner.js';
import type { OutcomeOf, Peer, Refusal, RequestOf } from './endpoint.js';
import type * as endpoints from './endpoints.js';
import type { Signer, VerifiedHead } from './message-signing.js';

type Endpoints = typeof endpoints;
export type EndpointName = keyof Endpoints;

/** What may be taken for granted of whoever asks. */
export interface Guarantees {
  /** A request of its comes at most once, and a request id stands for one run. */
  readonly atMostOnce: boolean;
  /** A serial that it brings comes with its certificate, or with records of how it came to be. */
  readonly provesSerials: boolean;
  /** Its CA writes the names of a host into the host's certificate. */
  readonly namesHosts: boolean;
  /** It knows what to do about a script that is busy. */
  readonly acceptsBusy: boolean;
  /** Bytes of each stream of a run that it can take. */
  readonly maxOutput: number;
}

/** A dispatcher that is trusted here, verified. */
export interface Caller extends Peer {
  readonly id: string;
  readonly guarantees: Guarantees;
}

/** What belongs to one request. */
export interface Call {
  /**
   * Opens the answer as a stream, at most once: what the sink takes goes out as it comes, and the outcome that the handler returns is
   * its signed end. `unfollowed` is called at most once, when the reader goes away, or is too slow, before that. Err: why it cannot be
   * streamed, in words for the peer.
   */
  readonly stream: Result<(unfollowed: () => void) => OutputSink, string>;
  /**
   * Enters the request among those that were accepted: a refusal where it cannot, or was seen before. The seam does so for callers;
   * whoever serves a stranger does it when that has proved something.
   */
  once(): Promise<Refusal | undefined>;
}

export type Handler<E, From = Caller> = (
  from: From,
  request: RequestOf<E>,
  call: Call,
) => Promise<OutcomeOf<E> | Refusal>;

/** What is answered to trusted dispatchers. */
export type Handlers = { readonly [N in EndpointName]: Handler<Endpoints[N]> };

/** What is answered to whoever is not trusted, but may prove by what it asks for that it should be. */
export type StrangerHandlers = { readonly [N in EndpointName]?: Handler<Endpoints[N], Peer> };

/** Whom this side trusts, and who it is itself. */
export interface ServerTrust {
  /**
   * Who is there, by the certificate of the connection; asked before the body is read, and again afterwards. Err: refused, and nothing
   * of the request is used. Without `id` it is a stranger.
   */
  identify(
    peer: ConnectionPeer,
    asked: { readonly path: string; readonly endpoint: EndpointName | undefined },
  ): Result<{ readonly id: string | undefined; readonly certificate: Certificate }, Refusal>;
  /** Who signs answers on a connection on which this certificate was presented. */
  signerOf(presented: Certificate): Signer | undefined;
  /** Why this dispatcher is not served without a signature; undefined: it may be a legacy one. */
  whyMustSign(peer: Peer): string | undefined;
  /** Called before a request is served. */
  onVerified(caller: Caller, signed: boolean): Promise<void>;
  /** Called with each request whose signature is missing, does not hold or was seen before. */
  onUnverified(peer: Peer, path: string, refusal: RequestRefusal): void;
  /** Called with each request that is not of the form, and with the words of its answer. */
  onMalformed(
    caller: Caller,
    asked: { readonly path: string; readonly endpoint: EndpointName },
    error: string,
    body: JsonObject,
  ): void;
  /** Enters a request among those that were accepted, before anything comes of it. */
  claim(request: VerifiedHead): Promise<Refusal | undefined>;
  /** Why a legacy dispatcher may not announce a serial by this script; undefined: it may. */
  whyNotAnnounced(
    caller: Caller,
    ask: Pick<RunAsk, 'username' | 'token'> & { readonly script: string; readonly args: readonly string[] },
  ): Promise<string | undefined>;
  /** Told of what a handler threw after its answer had begun: a bug, to be logged. */
  failed(error: unknown): void;
}
