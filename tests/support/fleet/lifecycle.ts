import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { memoryMutex } from '../../../src/adapters/memory/mutex.js';
import { memoryProcessRunner, processOutcome } from '../../../src/adapters/memory/process-runner.js';
import { memoryRunJournal } from '../../../src/adapters/memory/run-journal.js';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import { hex, utf8 } from '../../../src/domain/core/bytes.js';
import { failure } from '../../../src/domain/core/errors.js';
import { newStanding } from '../../../src/domain/trust/agent-standing.js';
import type { Channel } from '../../../src/ports/channel.js';
import type { AgentItem, KeyStore, KeyStoreItem } from '../../../src/ports/key-store.js';
import type { AgentContext } from '../../../src/sdk/agent/context.js';
import { type ServingAgent, serve } from '../../../src/sdk/agent/serve.js';
import type { DispatcherContext } from '../../../src/sdk/dispatcher/context.js';
import { createDispatcher, type Dispatcher } from '../../../src/sdk/dispatcher/dispatcher.js';
import { destinationOf } from '../../../src/sdk/dispatcher/trust/destination.js';
import { type Presence, readDispatcherIdentity } from '../../../src/sdk/dispatcher/trust/identity.js';
import { validFor } from '../../../src/sdk/dispatcher/trust/validity.js';
import { signRequest } from '../../../src/sdk/protocol/message-signing.js';
import { value } from '../../contract/result.js';
import { interposed } from '../network/interposed.js';
import {
  crypto,
  identify,
  type MemoryFleet,
  memoryFleet,
  type TestAgent,
  type TestDispatcher,
} from './memory-fleet.js';

export const day = 86_400_000;

/** What becomes of a request: it never arrives, or its answer is lost. */
export type Loss = 'request' | 'answer';

/** Something that happens to requests on their way. */
export type Fault = (path: string) => Loss | undefined;

/** A dispatcher whose requests can be lost and whose key store can fail. */
export interface Control extends TestDispatcher {
  readonly context: DispatcherContext;
  readonly dispatcher: Dispatcher;
  /** Asked for every request. */
  fault: Fault;
  /** Called before every write of the key store; true: it fails. */
  writeFails: () => boolean;
  /** Every request that went out, in order. */
  readonly sent: string[];
  /** Another process over the same stores. */
  restarted(): Control;
}

const lossy = (inner: Channel, state: Pick<Control, 'fault' | 'sent'>): Channel =>
  interposed(inner, {
    exchange({ host }, { path }, send) {
      const lost = state.fault(path);
      const gone = () =>
        errAsync({
          ...failure('connection_failed', 'the network lost it', { host, reason: 'ECONNRESET' }),
          sent: true,
        });
      if (lost === 'request') return gone();
      state.sent.push(`${host} ${path}`);
      const answer = send();
      return lost === 'answer' ? answer.andThen(gone) : answer;
    },
  });

const failing = <Item extends KeyStoreItem>(
  inner: KeyStore<Item>,
  state: Pick<Control, 'writeFails'>,
): KeyStore<Item> => ({
  ...inner,
  replace: (change, options) =>
    state.writeFails()
      ? errAsync(failure('file_failed', 'no space', { path: 'store', operation: 'write', reason: 'ENOSPC' }))
      : inner.replace(change, options),
});

function controlOver(
  base: TestDispatcher,
  ports: DispatcherContext,
  network: MemoryFleet['network'],
): Control {
  const state: Pick<Control, 'fault' | 'sent' | 'writeFails'> = {
    fault: () => undefined,
    sent: [],
    writeFails: () => false,
  };
  const keyStore = failing(ports.keyStore, state);
  const context: DispatcherContext = {
    ...ports,
    keyStore,
    authority: x509CertificateAuthority({ keyStore, random: ports.random, crypto }),
    mutex: memoryMutex(),
    channel: lossy(network.channel('192.0.2.1'), state),
  };
  const dispatcher = createDispatcher(() =>
    okAsync({ context, warnings: [], close: () => context.channel.close() }),
  );
  const control = Object.assign(state, { context, dispatcher, events: base.events, hook: base.hook });
  return Object.assign(control, { restarted: () => controlOver(base, ports, network) });
}

/** A managed host that can be switched off and on. */
export interface Host {
  readonly name: string;
  readonly test: TestAgent;
  readonly context: AgentContext;
  readonly keyStore: KeyStore<AgentItem>;
  /** Scripts whose first argument is `slow` wait here. */
  gate: Promise<unknown>;
  /** Its disk is: nothing can be stored. */
  full: boolean;
  /** Scripts that were begun. */
  readonly started: number;
  isUp(): boolean;
  up(): Promise<ServingAgent>;
  down(): Promise<void>;
  restart(): Promise<void>;
  reload(): Promise<void>;
}

function hostOver(test: TestAgent, name: string): Host {
  let serving: ServingAgent | undefined;
  const own = { gate: Promise.resolve<unknown>(undefined), full: false, started: 0 };
  const keyStore = failing(test.context.keyStore(undefined as never), { writeFails: () => own.full });
  const context: AgentContext = {
    ...test.context,
    keyStore: () => keyStore,
    journal: () => memoryRunJournal(),
    runner: memoryProcessRunner({
      '/opt/greet': async ({ args }) => {
        own.started += 1;
        if (args[0] === 'slow') await own.gate;
        return processOutcome(0, `hello ${args.join(' ')}`);
      },
    }),
  };
  const down = async () => {
    await serving?.close(0);
    serving = undefined;
  };
  const up = async () => {
    serving ??= value(await serve(context));
    return serving;
  };
  return Object.assign(own, {
    name,
    test,
    context,
    keyStore,
    isUp: () => serving !== undefined,
    up,
    down,
    restart: async () => {
      await down();
      await up();
    },
    reload: async () => {
      if (serving) value(await serving.reload());
    },
  });
}

/** What pairing would have installed and recorded, without the ceremony; over the key that is there, as a second pairing does. */
export async function paired({ context }: TestDispatcher, host: Host, name = host.name): Promise<void> {
  const items = ['agent-key', 'ca-certificate', 'trusted-dispatchers', 'dispatcher-certificates'] as const;
  const present = value(await host.keyStore.read(items));
  const identity = value(await readDispatcherIdentity(context));
  const key = present['agent-key'] ?? value(await crypto.generateKey('p256'));
  const { spki } = value(crypto.signingKey(key));
  const validity = validFor(context, context.settings.certDays);
  const certificate = value(await context.authority.issue({ kind: 'agent', name }, spki, validity));
  const dispatchers = [identity, identity.next].flatMap((each) => (each ? [each.certificate] : []));
  const lines = dispatchers.map(({ serial }) => `${serial} ${context.settings.dispatcherId}\n`).join('');
  value(
    await host.keyStore.replace({
      'agent-key': key,
      'agent-certificate': certificate.pem,
      'ca-certificate': present['ca-certificate'] ?? identity.cas.join(''),
      'trusted-dispatchers': `${present['trusted-dispatchers'] ?? ''}${lines}`,
      'dispatcher-certificates': `${present['dispatcher-certificates'] ?? ''}${dispatchers.map(({ pem }) => pem).join('')}`,
    }),
  );
  const at = context.clock.now();
  const spkiSha256 = hex(crypto.sha256(spki));
  const { serial, notAfter } = certificate;
  value(
    await context.registry.enrol({
      name,
      endpoint: { host: host.name, ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' },
      pin: { spkiSha256, state: 'issued', serial, notAfter, issuedAt: at },
      pairing: 'v2',
      replace: true,
      standing: newStanding(dispatchers.map((each) => each.serial)),
      at,
    }),
  );
  value(await context.registry.activate(name, spkiSha256));
}

/** A dispatcher and paired hosts that serve. */
export async function lifecycle(names: readonly string[], configuration = '') {
  const fleet = memoryFleet();
  const control = controlOf(fleet, 'control.test', configuration);
  await identify(control);
  const hosts = new Map<string, Host>();
  const add = async (name: string, agentConfiguration = '') => {
    const host = hostOver(fleet.agent(name, agentConfiguration), name);
    await paired(control, host);
    await host.up();
    hosts.set(name, host);
    return host;
  };
  for (const name of names) await add(name);
  const host = (name: string): Host => {
    const found = hosts.get(name);
    if (!found) throw new Error(`no host ${name}`);
    return found;
  };
  return { fleet, clock: fleet.clock, control, hosts, host, add };
}

const controlOf = (fleet: MemoryFleet, name: string, configuration: string): Control => {
  const base = fleet.dispatcher(name, configuration);
  return controlOver(base, base.context, fleet.network);
};

/** A further dispatcher under the same CA, as an operator makes one who copies `ca.key` and `ca.crt`. */
export async function secondDispatcher(
  fleet: MemoryFleet,
  first: TestDispatcher,
  configuration = '',
): Promise<Control> {
  const second = controlOf(fleet, 'second.test', `dispatcher_id = second\n${configuration}`);
  await copyCa(first, second);
  value(await second.dispatcher.setup());
  return second;
}

export async function copyCa(from: TestDispatcher, to: TestDispatcher): Promise<void> {
  const ca = value(await from.context.keyStore.read(['ca-key', 'ca-certificate', 'ca-previous-key']));
  value(
    await to.context.keyStore.replace({
      'ca-key': ca['ca-key'] ?? null,
      'ca-certificate': ca['ca-certificate'] ?? null,
      'ca-previous-key': ca['ca-previous-key'] ?? null,
    }),
  );
}

/** The error text of a run on one host, or undefined where it exited 0. */
export async function runFails(
  { dispatcher }: Pick<TestDispatcher, 'dispatcher'>,
  name: string,
  argument = 'you',
): Promise<string | undefined> {
  const outcome = await dispatcher.run({ hosts: [name], script: 'greet', args: [argument] });
  // Somebody else runs it there at this moment: that is no failure of the fleet.
  if (outcome.isErr() && outcome.error.code === 'locked') return undefined;
  if (outcome.isErr()) return outcome.error.message;
  const [result] = outcome.value.results;
  if (!result) return 'no result';
  return result.exit === 0 && result.stdout === `hello ${argument}`
    ? undefined
    : (result.error ?? `exit ${result.exit}`);
}

export async function pingFails(
  { dispatcher }: Pick<TestDispatcher, 'dispatcher'>,
  name: string,
): Promise<string | undefined> {
  const [result] = value(await dispatcher.ping({ hosts: [name] })).results;
  return result?.status === 'ok' ? undefined : (result?.error ?? 'no result');
}

export async function recordOf({ context }: TestDispatcher, name: string) {
  const record = value(await context.registry.find(name));
  if (!record) throw new Error(`no record of ${name}`);
  return record;
}

/** The certificate that a host would present, and the serials that it trusts. */
export async function stateOf({ keyStore }: Host) {
  const read = value(
    await keyStore.read(['agent-certificate', 'trusted-dispatchers', 'ca-certificate', 'agent-key']),
  );
  const certificate = value(crypto.readCertificate(read['agent-certificate'] ?? ''));
  return {
    certificate,
    key: read['agent-key'] ?? '',
    trust: (read['trusted-dispatchers'] ?? '').split('\n').filter((line) => line !== ''),
    cas: (read['ca-certificate'] ?? '').split('-----BEGIN').length - 1,
  };
}

export const identityOf = async ({ context }: TestDispatcher) => value(await readDispatcherIdentity(context));

/** A request to a host in a dispatcher's name, as whoever holds `presence`; the answer's status and body. */
export async function ask(
  control: TestDispatcher,
  presence: Presence,
  name: string,
  path: string,
  body: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const record = await recordOf(control, name);
  const { cas } = await identityOf(control);
  const { channel, clock, random } = control.context;
  const { credentials, signer, certificate } = presence;
  const to = { ...destinationOf(record).dial, credentials, trust: cas, key: `ask ${certificate.serial}` };
  const connection = value(await channel.connect(to, { timeout: 10_000 }));
  const headers = [
    ['host', connection.authority],
    ['content-type', 'application/json'],
  ] as const;
  const onWire = { method: 'POST', path, query: '', headers, body: utf8(JSON.stringify(body)) };
  const signature = signRequest(crypto, signer, onWire, {
    targetSpki: connection.peer.spki,
    now: clock.now(),
    nonce: random.bytes(16),
  });
  const limits = { answerTimeout: 10_000, maxAnswer: 64 * 1024 };
  const answer = await connection.exchange({ ...onWire, headers: [...headers, ...signature], ...limits });
  connection.release();
  const { status, body: bytes } = value(answer);
  return { status, json: JSON.parse(new TextDecoder().decode(bytes)) };
}

/** Somebody with a fresh key and a certificate of the dispatcher's CA. */
export async function presenceOf(
  { context }: TestDispatcher,
  dispatcherId: string,
  spkiOf?: string,
): Promise<Presence> {
  const key = spkiOf ?? value(await crypto.generateKey('p256'));
  const signing = value(crypto.signingKey(key));
  const certificate = value(
    await context.authority.issue({ kind: 'dispatcher', dispatcherId }, signing.spki, validFor(context, 365)),
  );
  return {
    credentials: { key, certificate: certificate.pem },
    certificate,
    signer: { key: signing, certificate },
  };
}

/** Fails the n-th call, counted from 1, and no other. */
export function nth(n: number): () => boolean {
  let calls = 0;
  return () => {
    calls += 1;
    return calls === n;
  };
}

/** Loses one request of this path, the first that comes. */
export function loseOnce(path: string, loss: Loss): Fault {
  let done = false;
  return (asked) => {
    if (done || asked !== path) return undefined;
    done = true;
    return loss;
  };
}

/** Resolves once `condition` holds, looked at after every turn of the event loop. */
export function until(condition: () => boolean): ResultAsync<void, never> {
  return ResultAsync.fromSafePromise(
    (async () => {
      while (!condition()) await new Promise((resolve) => setImmediate(resolve));
    })(),
  );
}
