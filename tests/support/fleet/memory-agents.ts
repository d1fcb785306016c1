import { randomBytes } from 'node:crypto';
import { err, ok, okAsync, ResultAsync } from 'neverthrow';
import { actionRunner } from '../../../src/adapters/in-process/runner.js';
import { memoryAuthHook } from '../../../src/adapters/memory/auth-hook.js';
import { manualClock } from '../../../src/adapters/memory/clock.js';
import { memoryEventLog } from '../../../src/adapters/memory/event-log.js';
import { memoryFileSystem } from '../../../src/adapters/memory/file-system.js';
import { type MemoryJobShelf, memoryJobs } from '../../../src/adapters/memory/jobs.js';
import { memoryKeyStore } from '../../../src/adapters/memory/key-store.js';
import { memoryNetwork } from '../../../src/adapters/memory/network/network.js';
import { memoryProcessRunner } from '../../../src/adapters/memory/process-runner.js';
import { memoryRunJournal } from '../../../src/adapters/memory/run-journal.js';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { x509RevocationLists } from '../../../src/adapters/x509/revocation-lists.js';
import { hex } from '../../../src/domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../src/domain/core/errors.js';
import { legacyDispatcherId } from '../../../src/domain/core/names.js';
import { splitCertificates } from '../../../src/domain/core/pem.js';
import type { HeaderList, HttpAnswer } from '../../../src/domain/protocol/http-message.js';
import type { Actions } from '../../../src/domain/runs/action.js';
import type { HookOutcome } from '../../../src/domain/runs/auth-hook.js';
import { newStanding } from '../../../src/domain/trust/agent-standing.js';
import { type Certificate, dispatcherUri } from '../../../src/domain/trust/certificate.js';
import { caSetDigest } from '../../../src/domain/trust/lifecycle.js';
import { parseTrust, type TrustLines } from '../../../src/domain/trust/trusted-dispatchers.js';
import type { Credentials } from '../../../src/ports/channel.js';
import type { AgentItem, KeyStore } from '../../../src/ports/key-store.js';
import type { IncomingRequest, ListenOptions } from '../../../src/ports/listener.js';
import type { AgentContext } from '../../../src/sdk/agent/context.js';
import { serve } from '../../../src/sdk/agent/serve.js';
import { createDispatcher } from '../../../src/sdk/dispatcher/dispatcher.js';
import {
  checkAnswer,
  checkRequestBody,
  checkRequestHead,
  type RequestOnWire,
  type Signer,
  signAnswer,
  signRequest,
} from '../../../src/sdk/protocol/message-signing.js';
import { value } from '../../contract/result.js';
import { type TestCa, testCa } from '../network/test-pki.js';
import { crypto, type MemoryFleet, type TestAgent, type TestDispatcher } from './memory-fleet.js';

type Programs = Parameters<typeof memoryProcessRunner>[0];

export interface Issued {
  readonly credentials: Credentials;
  readonly certificate: Certificate;
  /** Lower-case hex. */
  readonly spkiSha256: string;
}

/** A fresh key and an agent certificate for it, from the dispatcher's CA. */
export async function issueAgent({ context }: TestDispatcher, name: string, days = 1): Promise<Issued> {
  const key = value(await context.crypto.generateKey('p256'));
  const { spki } = value(context.crypto.signingKey(key));
  const now = context.clock.now();
  const certificate = value(
    await context.authority.issue({ kind: 'agent', name }, spki, {
      notBefore: now - 60_000,
      notAfter: now + days * 86_400_000,
    }),
  );
  return {
    credentials: { key, certificate: certificate.pem },
    certificate,
    spkiSha256: hex(context.crypto.sha256(spki)),
  };
}

/**
 * Pins the key in the registry, for an agent that trusts the dispatcher's certificate; a further call for the name adds a
 * pin.
 */
export async function register(
  { context: { keyStore, registry, clock } }: TestDispatcher,
  name: string,
  { certificate, spkiSha256 }: Issued,
  { state = 'active', host = name }: { state?: 'issued' | 'active'; host?: string } = {},
) {
  const { serial, notAfter } = certificate;
  const at = clock.now();
  const pin = { spkiSha256, state: 'issued', serial, notAfter, issuedAt: at } as const;
  const endpoint = { host, ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
  const { 'dispatcher-certificate': own, 'ca-certificate': cas } = value(
    await keyStore.read(['dispatcher-certificate', 'ca-certificate']),
  );
  const digests = splitCertificates(cas ?? '').map((pem) =>
    hex(crypto.sha256(value(crypto.readCertificate(pem)).der)),
  );
  const standing = newStanding(
    own === undefined ? [] : [value(crypto.readCertificate(own)).serial],
    caSetDigest(digests),
    'signed',
  );
  value(await registry.enrol({ name, endpoint, pin, pairing: 'v2', replace: true, standing, at }));
  if (state === 'active') value(await registry.activate(name, spkiSha256));
}

/** A request as a scripted agent saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown>;
  readonly client: string | undefined;
}

export type Answering = (request: Seen) => HttpAnswer | Promise<HttpAnswer>;

/** Makes of an answer what travels. */
export type Signing = (answer: HttpAnswer, request: IncomingRequest) => HttpAnswer;

/** As the agents of this product sign: with the key of the connection's certificate, for the very request. */
export const signedBy =
  (signer: Signer, now: () => number): Signing =>
  (answer, request) =>
    signAnswer(crypto, signer, answer, request, now());

export const signerOf = ({ key, certificate }: Credentials): Signer => ({
  key: value(crypto.signingKey(key)),
  certificate: value(crypto.readCertificate(certificate)),
});

/** Throws unless a request is signed by its peer, for the agent that it reached, body included. */
async function verifyRequest(request: IncomingRequest, body: Uint8Array, now: number): Promise<void> {
  const { certificate, presented } = request.peer;
  if (!certificate) throw new Error('the dispatcher showed no certificate');
  checkRequestHead(crypto, request, { certificate, ownSpki: presented.spki, now })
    .andThen((head) => checkRequestBody(crypto, head, body))
    .mapErr(({ error, reason }) => {
      throw new Error(`the dispatcher sent what no agent accepts: ${error}: ${reason}`);
    });
}

/**
 * Somebody on an agent's port who answers as the test says, and remembers what it was asked. Answers are signed as they
 * must be unless `sign` does otherwise; a request that is not signed as it must be is a failure of the test.
 */
export async function scriptedAgent(
  fleet: MemoryFleet,
  control: TestDispatcher,
  name: string,
  answer: Answering,
  options: { registered?: 'issued' | 'active' | false; host?: string; issued?: Issued; sign?: Signing } = {},
) {
  const { registered = 'active', host = name } = options;
  const issued = options.issued ?? (await issueAgent(control, name));
  const now = () => fleet.clock.now();
  const sign = options.sign ?? signedBy(signerOf(issued.credentials), now);
  const seen: Seen[] = [];
  const failures: unknown[] = [];
  const ca = value(await control.context.keyStore.read(['ca-certificate']))['ca-certificate'];
  const listening = value(
    await fleet.network.listener(host).listen({
      bind: host,
      port: 7443,
      credentials: issued.credentials,
      clientCas: [ca ?? ''],
      maxBody: 1024 * 1024,
      maxConnections: 1024,
      handle: async (incoming) => {
        const { method, path, body, peer } = incoming;
        const bytes = value(await body());
        await verifyRequest(incoming, bytes, now());
        const text = new TextDecoder().decode(bytes);
        const request = {
          method,
          path,
          body: text === '' ? {} : JSON.parse(text),
          client: peer.certificate?.serial,
        };
        seen.push(request);
        return sign(await answer(request), incoming);
      },
      // Answered 500 and not signed: no test takes that for an answer of its own.
      failed: (error) => failures.push(error),
    }),
  );
  if (registered) await register(control, name, issued, { state: registered, host });
  return { seen, issued, listening, failures };
}

/** A dispatcher with some ports of its own. */
export const withPorts = (
  control: TestDispatcher,
  ports: Partial<TestDispatcher['context']>,
): TestDispatcher['context'] => ({ ...control.context, ...ports });

/** A dispatcher over this context, to call by its public face. */
export const dispatcherOver = (context: TestDispatcher['context']) =>
  createDispatcher(() => okAsync({ context, warnings: [], close: async () => undefined }));

/** Installs an identity and a trust line at an agent and registers it: paired, without the ceremony. */
export async function enrol(control: TestDispatcher, agent: TestAgent, name: string): Promise<Issued> {
  const issued = await issueAgent(control, name);
  const { 'ca-certificate': ca, 'dispatcher-certificate': own } = value(
    await control.context.keyStore.read(['ca-certificate', 'dispatcher-certificate']),
  );
  const { serial } = value(crypto.readCertificate(own ?? ''));
  value(
    await agent.context.keyStore(undefined as never).replace({
      'agent-key': issued.credentials.key,
      'agent-certificate': issued.credentials.certificate,
      'ca-certificate': ca ?? '',
      'trusted-dispatchers': `${serial} control\n`,
    }),
  );
  await register(control, name, issued);
  return issued;
}

/** The serial that `servingAgent` trusts, as `control`. */
export const trustedSerial = 'abc123';

let sharedCa: Promise<TestCa> | undefined;

/** Around the present and around the moment of a manual clock. */
const datesAround = (now: number) => ({
  notBefore: new Date(Math.min(now, Date.now()) - 3_600_000),
  notAfter: new Date(Math.max(now, Date.now()) + 10 * 86_400_000),
});

export interface AgentOptions {
  readonly configuration?: string;
  /** `scripts.conf`; null: the file does not exist. Default: `greet`. */
  readonly scripts?: string | null;
  /** Further files, mode 0644. */
  readonly files?: Readonly<Record<string, string>>;
  readonly executable?: readonly string[];
  readonly programs?: Programs;
  /** Told to end, they have 50 ms. */
  readonly actions?: Actions;
  readonly trust?: string;
  readonly revoked?: string;
  readonly paired?: boolean;
  /** Where the identity is put. */
  readonly keyStore?: KeyStore<AgentItem>;
  readonly ports?: Partial<AgentContext>;
  /** Its jobs, where an agent before has left some. */
  readonly shelf?: MemoryJobShelf;
}

/** An agent's context over memory adapters, with an identity, and what to look at from outside. */
export async function agentContext(options: AgentOptions = {}) {
  const home = '/etc/ctrl-exec-agent';
  sharedCa ??= testCa();
  const ca = await sharedCa;
  const clock = manualClock(Date.UTC(2026, 4, 6, 7, 8, 9, 500));
  const own = await ca.issue({
    commonName: 'web-01',
    dnsNames: ['web-01'],
    usages: ['serverAuth'],
    ...datesAround(clock.now()),
  });
  const { scripts = 'greet = /opt/greet\n', executable = ['/opt/greet'], paired = true } = options;
  const files = memoryFileSystem({
    [`${home}/agent.conf`]: options.configuration ?? '',
    ...(scripts === null ? {} : { [`${home}/scripts.conf`]: scripts }),
    '/opt/greet': '',
    ...options.files,
  });
  for (const path of ['/bin/sh', ...executable])
    files.files.set(path, { bytes: new TextEncoder().encode('#!/bin/sh\n'), mode: 0o755 });
  const keyStore = options.keyStore ?? memoryKeyStore();
  value(
    await keyStore.replace({
      ...(paired && { 'agent-key': own.key, 'agent-certificate': own.certificate, 'ca-certificate': ca.pem }),
      'trusted-dispatchers': options.trust ?? `${trustedSerial} control\n`,
      ...(options.revoked !== undefined && { 'revoked-serials': options.revoked }),
    }),
  );
  const events = memoryEventLog();
  const policy: { outcome: HookOutcome } = { outcome: { kind: 'none' } };
  const hook = memoryAuthHook(() => policy.outcome);
  const network = memoryNetwork({ crypto });
  /** `presented`: what new connections are shown. */
  const heard: { options?: ListenOptions; presented?: Certificate } = {};
  const listener = network.listener('web-01');
  const present = ({ certificate }: Credentials) => {
    heard.presented = value(crypto.readCertificate(certificate));
  };
  const journal = memoryRunJournal({ monotonic: clock.monotonic });
  const runner = memoryProcessRunner(options.programs ?? {});
  const { actions = {} } = options;
  const actsAs = actionRunner({ actions, events, killAfter: 50 });
  const actionShelf: MemoryJobShelf = new Map();
  /** What becomes of jobs when the agent goes. */
  const shelf: MemoryJobShelf = options.shelf ?? new Map();
  const context: AgentContext = {
    actions: {
      functions: actions,
      runner: actsAs,
      jobs: () => memoryJobs({ runner: actsAs, shelf: actionShelf, now: clock.now }),
    },
    certificateRequests: x509CertificateRequests(),
    clock,
    crypto,
    environment: { PATH: '/usr/bin' },
    events,
    files,
    hook: () => hook,
    hostName: 'vm-7a3f',
    jobs: () => memoryJobs({ runner, shelf, now: clock.now }),
    keyStore: () => keyStore,
    legacyPairing: network.legacyPairing('127.0.0.1'),
    listener: {
      listen: (asked) => {
        heard.options = asked;
        present(asked.credentials);
        return listener.listen(asked).map((listening) => ({
          ...listening,
          renew: (credentials, cas) => {
            present(credentials);
            listening.renew(credentials, cas);
          },
        }));
      },
    },
    place: {
      home,
      stateDir: '/var/lib/ctrl-exec-agent',
      configurationFile: `${home}/agent.conf`,
      configurationRequired: false,
      fileTrust: 'strict',
    },
    random: { bytes: (length) => new Uint8Array(length) },
    journal: () => journal,
    revocationLists: x509RevocationLists({ crypto }),
    runner,
    channel: network.channel('127.0.0.1'),
    version: '1.2.3',
    ...options.ports,
  };
  return {
    context,
    clock,
    events,
    files,
    keyStore,
    ca,
    own,
    network,
    policy,
    asked: hook.asked,
    heard,
    shelf,
  };
}

const issuedDispatchers = new Map<string, Promise<Credentials>>();

/** A certificate of a dispatcher `control` and its key, from the CA of all agents of `agentContext`. */
export async function dispatcherCredentials(
  serial: string,
  { id = 'control', uris = [dispatcherUri(id)] }: { id?: string; uris?: readonly string[] } = {},
): Promise<Credentials> {
  sharedCa ??= testCa();
  const ca = await sharedCa;
  const name = JSON.stringify([serial, id, uris]);
  const known =
    issuedDispatchers.get(name) ??
    ca.issue({
      commonName: id,
      uris,
      usages: ['clientAuth'],
      serial: serial.padStart(serial.length + (serial.length % 2), '0'),
      ...datesAround(Date.UTC(2026, 4, 6)),
    });
  issuedDispatchers.set(name, known);
  return known;
}

/** What a test asks of an agent: by default as a dispatcher that the agent trusts would. */
export interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  /** An object is sent as JSON. Default: an empty object, and nothing with GET. */
  readonly body?: unknown;
  /**
   * Serial of the client's certificate; undefined: it sent none. Default: the trusted one. What is no canonical serial
   * stands for one that a listener read wrongly.
   */
  readonly serial?: string | undefined;
  /** URIs in the client's certificate. Default: as dispatchers have them. */
  readonly uris?: readonly string[];
  /** The client's key and certificate; goes before `serial`. */
  readonly as?: Credentials;
  readonly address?: string;
  /** Send it without a signature. */
  readonly unsigned?: boolean;
  /** Who signs. Default: the client. */
  readonly signer?: Signer;
  /** SubjectPublicKeyInfo of the agent that it is signed for. Default: of the certificate that was presented. */
  readonly target?: Uint8Array;
  /** When it was signed, epoch milliseconds. Default: now. */
  readonly signedAt?: number;
  /** Seconds. */
  readonly lifetime?: number;
  readonly nonce?: Uint8Array;
  /** What the connection was shown by the agent. Default: the certificate that it shows now. */
  readonly presented?: Certificate;
  /** What reading the body ends with, instead of the body. */
  readonly bodyFails?: CtrlExecError<'too_large' | 'connection_failed' | 'timed_out'>;
  /** What happens while the body is on its way. */
  readonly whileSending?: () => Promise<unknown>;
}

/** A request as it travels, and the connection that it comes on. */
export interface Sent extends RequestOnWire, Pick<Asked, 'bodyFails' | 'whileSending'> {
  readonly peer: IncomingRequest['peer'];
}

export interface Told {
  readonly status: number;
  /** Without those of the signature. */
  readonly headers: HeaderList;
  readonly json: Record<string, unknown>;
  readonly bodyReads: number;
  /** As it travelled. */
  readonly answer: HttpAnswer;
}

const signatureHeaders = ['content-digest', 'signature-input', 'signature'];

const bytesOf = (body: unknown): Uint8Array =>
  body instanceof Uint8Array
    ? body
    : new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));

/** @param trust who is trusted: a certificate names the dispatcher that its serial is trusted as */
async function clientOf(asked: Asked, trust: TrustLines): Promise<Signer | undefined> {
  if (asked.as) return signerOf(asked.as);
  const serial = 'serial' in asked ? asked.serial : trustedSerial;
  if (serial === undefined) return undefined;
  const id = trust.get(serial);
  const named = {
    ...(id !== undefined && id !== legacyDispatcherId && { id }),
    ...(asked.uris && { uris: asked.uris }),
  };
  if (/^[1-9a-f][0-9a-f]*$/.test(serial)) return signerOf(await dispatcherCredentials(serial, named));
  const { key, certificate } = signerOf(await dispatcherCredentials('1', named));
  return { key, certificate: { ...certificate, serial } };
}

/** An agent that serves, asked directly: what its listener would hand it. */
export async function servingAgent(options: AgentOptions = {}) {
  const parts = await agentContext(options);
  const serving = value(await serve(parts.context));
  const { heard, context } = parts;
  const { options: listening } = heard;
  if (!listening) throw new Error('the agent does not listen');

  /** The request that a dispatcher makes: whoever sends it twice repeats it byte for byte. */
  const make = async (asked: Asked = {}): Promise<Sent> => {
    const { method = 'POST', path = '/run', query = '', address = '192.0.2.1' } = asked;
    const presented = asked.presented ?? heard.presented;
    if (!presented) throw new Error('the agent presents no certificate');
    const stored = (await parts.keyStore.read(['trusted-dispatchers'])).unwrapOr(undefined);
    const client = await clientOf(asked, parseTrust(stored?.['trusted-dispatchers'] ?? '').lines);
    const body = bytesOf('body' in asked ? asked.body : method === 'GET' ? '' : {});
    const headers: HeaderList = [
      ['host', 'web-01:7443'],
      ...(body.length > 0 ? ([['content-type', 'application/json']] as const) : []),
    ];
    const request = { method, path, query, headers, body };
    const signer = asked.unsigned ? undefined : (asked.signer ?? client);
    const signature = signer
      ? signRequest(crypto, signer, request, {
          targetSpki: asked.target ?? presented.spki,
          now: asked.signedAt ?? context.clock.now(),
          nonce: asked.nonce ?? randomBytes(16),
          ...(asked.lifetime !== undefined && { lifetime: asked.lifetime }),
        })
      : [];
    return {
      ...request,
      headers: [...headers, ...signature],
      peer: { address, certificate: client?.certificate, presented, tlsVersion: 'TLSv1.3' },
      ...(asked.bodyFails && { bodyFails: asked.bodyFails }),
      ...(asked.whileSending && { whileSending: asked.whileSending }),
    };
  };

  const hand = async (sent: Sent, httpVersion: '1.0' | '1.1' = '1.1') => {
    const { body, bodyFails, whileSending, ...head } = sent;
    let bodyReads = 0;
    const answer = await listening.handle({
      ...head,
      httpVersion,
      body: (limit = listening.maxBody) => {
        bodyReads += 1;
        const large = failure('too_large', 'too large', { what: 'body', limit });
        const fails = bodyFails ?? (body.length > limit ? large : undefined);
        return ResultAsync.fromSafePromise(whileSending?.() ?? Promise.resolve()).andThen(() =>
          fails ? err(fails) : ok(body.slice()),
        );
      },
    });
    return { answer, reads: () => bodyReads };
  };

  /**
   * Hands the agent a request; its answer is verified as a dispatcher does, and one that does not verify is thrown, unless
   * the request is one that no dispatcher can have sent.
   */
  const send = async (sent: Sent, { verify = true } = {}): Promise<Told> => {
    const { answer, reads } = await hand(sent);
    const bodyReads = reads();
    const by = { certificate: sent.peer.presented, now: context.clock.now() };
    const verdict = checkAnswer(crypto, answer, sent, by);
    if (verify && verdict.isErr())
      throw new Error(`a dispatcher would not accept the answer (status ${answer.status}): ${verdict.error}`);
    const headers = answer.headers.filter(([name]) => !signatureHeaders.includes(name));
    const json = JSON.parse(new TextDecoder().decode(answer.body));
    return { status: answer.status, headers, json, bodyReads, answer };
  };

  const ask = async (asked: Asked = {}): Promise<Told> => send(await make(asked));
  return { ...parts, serving, listening, make, hand, send, ask };
}
