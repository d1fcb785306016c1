import { err, ok, okAsync, ResultAsync } from 'neverthrow';
import { memoryAuthHook } from '../../src/adapters/memory/auth-hook.js';
import { manualClock } from '../../src/adapters/memory/clock.js';
import { memoryEventLog } from '../../src/adapters/memory/event-log.js';
import { memoryFileSystem } from '../../src/adapters/memory/file-system.js';
import { memoryKeyStore } from '../../src/adapters/memory/key-store.js';
import { memoryNetwork } from '../../src/adapters/memory/network.js';
import { memoryProcessRunner } from '../../src/adapters/memory/process-runner.js';
import { x509CertificateRequests } from '../../src/adapters/x509/certificate-requests.js';
import type { HookOutcome } from '../../src/domain/auth-hook.js';
import { hex } from '../../src/domain/bytes.js';
import type { Certificate } from '../../src/domain/certificate.js';
import type { CtrlExecError } from '../../src/domain/errors.js';
import type { HttpAnswer } from '../../src/domain/http-message.js';
import type { KeyStore } from '../../src/ports/key-store.js';
import type { IncomingRequest, ListenOptions } from '../../src/ports/listener.js';
import type { Credentials } from '../../src/ports/transport.js';
import type { AgentContext } from '../../src/sdk/agent/context.js';
import { serve } from '../../src/sdk/agent/serve.js';
import { createDispatcher } from '../../src/sdk/dispatcher.js';
import { crypto, type memoryFleet, type TestAgent, type TestDispatcher } from './memory-fleet.js';
import { type TestCa, testCa } from './test-pki.js';

type Fleet = ReturnType<typeof memoryFleet>;
type Programs = Parameters<typeof memoryProcessRunner>[0];

/** A CA and an identity, without a pairing port. */
export async function identify(target: TestDispatcher) {
  (await target.dispatcher.setupCa())._unsafeUnwrap();
  return (await target.dispatcher.setup())._unsafeUnwrap();
}

export interface Issued {
  readonly credentials: Credentials;
  readonly certificate: Certificate;
  /** Lower-case hex. */
  readonly spkiSha256: string;
}

/** A fresh key and an agent certificate for it, from the dispatcher's CA. */
export async function issueAgent({ context }: TestDispatcher, name: string): Promise<Issued> {
  const key = (await context.crypto.generateKey('p256'))._unsafeUnwrap();
  const { spki } = context.crypto.signingKey(key)._unsafeUnwrap();
  const now = context.clock.now();
  const certificate = (
    await context.authority.issue({ kind: 'agent', name }, spki, {
      notBefore: now - 60_000,
      notAfter: now + 86_400_000,
    })
  )._unsafeUnwrap();
  return {
    credentials: { key, certificate: certificate.pem },
    certificate,
    spkiSha256: hex(context.crypto.sha256(spki)),
  };
}

/** Pins the key in the registry; a further call for the name adds a pin. */
export async function register(
  { context: { registry, clock } }: TestDispatcher,
  name: string,
  { certificate, spkiSha256 }: Issued,
  { state = 'active', host = name }: { state?: 'issued' | 'active'; host?: string } = {},
) {
  const { serial, notAfter } = certificate;
  const at = clock.now();
  const pin = { spkiSha256, state: 'issued', serial, notAfter, issuedAt: at } as const;
  const endpoint = { host, ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
  (await registry.enrol({ name, endpoint, pin, pairing: 'v2', replace: true, at }))._unsafeUnwrap();
  if (state === 'active') (await registry.activate(name, spkiSha256))._unsafeUnwrap();
}

/** A request as a scripted agent saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown>;
  readonly client: string | undefined;
}

export type Answering = (request: Seen) => HttpAnswer | Promise<HttpAnswer>;

/** Somebody on an agent's port who answers as the test says, and remembers what it was asked. */
export async function scriptedAgent(
  fleet: Fleet,
  control: TestDispatcher,
  name: string,
  answer: Answering,
  options: { registered?: 'issued' | 'active' | false; host?: string; issued?: Issued } = {},
) {
  const { registered = 'active', host = name } = options;
  const issued = options.issued ?? (await issueAgent(control, name));
  const seen: Seen[] = [];
  const ca = (await control.context.keyStore.read(['ca-certificate']))._unsafeUnwrap()['ca-certificate'];
  const listening = (
    await fleet.network.listener(host).listen({
      bind: host,
      port: 7443,
      credentials: issued.credentials,
      clientCas: [ca ?? ''],
      maxBody: 1024 * 1024,
      maxConnections: 1024,
      handle: async ({ method, path, body, peer }) => {
        const bytes = (await body())._unsafeUnwrap();
        const text = new TextDecoder().decode(bytes);
        const request = {
          method,
          path,
          body: text === '' ? {} : JSON.parse(text),
          client: peer.certificate?.serial,
        };
        seen.push(request);
        return answer(request);
      },
    })
  )._unsafeUnwrap();
  if (registered) await register(control, name, issued, { state: registered, host });
  return { seen, issued, listening };
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
  const { 'ca-certificate': ca, 'dispatcher-certificate': own } = (
    await control.context.keyStore.read(['ca-certificate', 'dispatcher-certificate'])
  )._unsafeUnwrap();
  const { serial } = crypto.readCertificate(own ?? '')._unsafeUnwrap();
  (
    await agent.context.keyStore(undefined as never).replace({
      'agent-key': issued.credentials.key,
      'agent-certificate': issued.credentials.certificate,
      'ca-certificate': ca ?? '',
      'trusted-dispatchers': `${serial} control\n`,
    })
  )._unsafeUnwrap();
  await register(control, name, issued);
  return issued;
}

/** The serial that `servingAgent` trusts, as `control`. */
export const trustedSerial = 'abc123';

let sharedCa: Promise<TestCa> | undefined;

export interface AgentOptions {
  readonly configuration?: string;
  /** `scripts.conf`; null: the file does not exist. Default: `greet`. */
  readonly scripts?: string | null;
  /** Further files, mode 0644. */
  readonly files?: Readonly<Record<string, string>>;
  readonly executable?: readonly string[];
  readonly programs?: Programs;
  readonly trust?: string;
  readonly revoked?: string;
  readonly paired?: boolean;
  /** Where the identity is put. */
  readonly keyStore?: KeyStore;
  readonly ports?: Partial<AgentContext>;
}

/** An agent's context over memory adapters, with an identity, and what to look at from outside. */
export async function agentContext(options: AgentOptions = {}) {
  const home = '/etc/ctrl-exec-agent';
  sharedCa ??= testCa();
  const ca = await sharedCa;
  const own = await ca.issue({ commonName: 'web-01', dnsNames: ['web-01'], usages: ['serverAuth'] });
  const { scripts = 'greet = /opt/greet\n', executable = ['/opt/greet'], paired = true } = options;
  const files = memoryFileSystem({
    [`${home}/agent.conf`]: options.configuration ?? '',
    ...(scripts === null ? {} : { [`${home}/scripts.conf`]: scripts }),
    '/opt/greet': '',
    ...options.files,
  });
  for (const path of executable) files.files.set(path, { bytes: new Uint8Array(), mode: 0o755 });
  const keyStore = options.keyStore ?? memoryKeyStore();
  (
    await keyStore.replace({
      ...(paired && { 'agent-key': own.key, 'agent-certificate': own.certificate, 'ca-certificate': ca.pem }),
      'trusted-dispatchers': options.trust ?? `${trustedSerial} control\n`,
      ...(options.revoked !== undefined && { 'revoked-serials': options.revoked }),
    })
  )._unsafeUnwrap();
  const events = memoryEventLog();
  const clock = manualClock(Date.UTC(2026, 4, 6, 7, 8, 9, 500));
  const policy: { outcome: HookOutcome } = { outcome: { kind: 'none' } };
  const hook = memoryAuthHook(() => policy.outcome);
  const network = memoryNetwork({ crypto });
  const heard: { options?: ListenOptions } = {};
  const listener = network.listener('web-01');
  const context: AgentContext = {
    certificateRequests: x509CertificateRequests(),
    clock,
    crypto,
    environment: { PATH: '/usr/bin' },
    events,
    files,
    hook: () => hook,
    hostName: 'vm-7a3f',
    keyStore: () => keyStore,
    listener: {
      listen: (asked) => {
        heard.options = asked;
        return listener.listen(asked);
      },
    },
    place: {
      home,
      stateDir: '/var/lib/ctrl-exec-agent',
      configurationFile: `${home}/agent.conf`,
      configurationRequired: false,
    },
    random: { bytes: (length) => new Uint8Array(length) },
    runner: memoryProcessRunner(options.programs ?? {}),
    transport: network.transport('127.0.0.1'),
    version: '1.2.3',
    ...options.ports,
  };
  return { context, clock, events, files, keyStore, ca, own, network, policy, asked: hook.asked, heard };
}

export interface Asked {
  readonly method?: string;
  readonly path?: string;
  /** An object is sent as JSON. */
  readonly body?: unknown;
  /** Serial of the client's certificate; undefined: it sent none. Default: the trusted one. */
  readonly serial?: string | undefined;
  readonly address?: string;
  /** What reading the body ends with, instead of the body. */
  readonly bodyFails?: CtrlExecError<'too_large' | 'connection_failed' | 'timed_out'>;
  /** What happens while the body is on its way. */
  readonly whileSending?: () => Promise<unknown>;
}

export interface Told {
  readonly status: number;
  readonly headers: HttpAnswer['headers'];
  readonly json: Record<string, unknown>;
  readonly bodyReads: number;
}

const clientCertificate = (serial: string): Certificate => ({
  pem: '',
  der: new Uint8Array(),
  spki: new Uint8Array(),
  serial,
  commonName: 'control',
  dnsNames: [],
  uris: [],
  notBefore: 0,
  notAfter: Number.MAX_SAFE_INTEGER,
  isCa: false,
  usages: ['clientAuth'],
});

/** An agent that serves, asked directly: what its listener would hand it. */
export async function servingAgent(options: AgentOptions = {}) {
  const parts = await agentContext(options);
  const serving = (await serve(parts.context))._unsafeUnwrap();
  const { options: listening } = parts.heard;
  if (!listening) throw new Error('the agent does not listen');
  const ask = async (asked: Asked = {}): Promise<Told> => {
    const { method = 'POST', path = '/run', body = {}, address = '192.0.2.1' } = asked;
    const serial = 'serial' in asked ? asked.serial : trustedSerial;
    let bodyReads = 0;
    const bytes =
      body instanceof Uint8Array
        ? body
        : new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));
    const request: IncomingRequest = {
      method,
      path,
      query: '',
      headers: [],
      peer: {
        address,
        certificate: serial === undefined ? undefined : clientCertificate(serial),
        tlsVersion: 'TLSv1.3',
      },
      body: () => {
        bodyReads += 1;
        return ResultAsync.fromSafePromise(asked.whileSending?.() ?? Promise.resolve()).andThen(() =>
          asked.bodyFails ? err(asked.bodyFails) : ok(bytes),
        );
      },
    };
    const answer = await listening.handle(request);
    const json = JSON.parse(new TextDecoder().decode(answer.body));
    return { status: answer.status, headers: answer.headers, json, bodyReads };
  };
  return { ...parts, serving, listening, ask };
}
