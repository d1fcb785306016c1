import { okAsync } from 'neverthrow';
import { memoryAuthHook } from '../../../src/adapters/memory/auth-hook.js';
import { type ManualClock, manualClock } from '../../../src/adapters/memory/clock.js';
import { memoryEventLog } from '../../../src/adapters/memory/event-log.js';
import { memoryFileSystem } from '../../../src/adapters/memory/file-system.js';
import { memoryJobs } from '../../../src/adapters/memory/jobs.js';
import { memoryKeyStore } from '../../../src/adapters/memory/key-store.js';
import { memoryProcessRunner, processOutcome } from '../../../src/adapters/memory/process-runner.js';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { x509RevocationLists } from '../../../src/adapters/x509/revocation-lists.js';
import { memoryWorld } from '../../../src/apps/library/testing/ports.js';
import { parseConfiguration } from '../../../src/domain/core/configuration.js';
import type { HookOutcome } from '../../../src/domain/runs/auth-hook.js';
import { dispatcherSettings } from '../../../src/domain/settings/dispatcher.js';
import type { KeyStore } from '../../../src/ports/key-store.js';
import { type Agent, createAgent } from '../../../src/sdk/agent/agent.js';
import type { AgentContext } from '../../../src/sdk/agent/context.js';
import type { PairingOptions } from '../../../src/sdk/agent/pairing/options.js';
import type { DispatcherContext } from '../../../src/sdk/dispatcher/context.js';
import { createDispatcher, type Dispatcher } from '../../../src/sdk/dispatcher/dispatcher.js';
import { value } from '../../contract/result.js';

/** The name by which agents reach a dispatcher's pairing port. */
export const dispatcherHost = 'control.test';
export const pairingPort = 7444;

export const crypto = nodeCrypto();
type World = ReturnType<typeof memoryWorld>;

/** Made at once: the default adapters are loaded by their first call, which takes no virtual time. */
const x509 = {
  certificateRequests: x509CertificateRequests(),
  revocationLists: x509RevocationLists({ crypto }),
};

export interface TestDispatcher {
  readonly context: DispatcherContext;
  readonly dispatcher: Dispatcher;
  readonly events: ReturnType<typeof memoryEventLog>;
  /** What the hook answers; replace it. Default: no hook. */
  hook: HookOutcome;
}

export interface TestAgent {
  readonly context: AgentContext;
  readonly agent: Agent;
  readonly events: ReturnType<typeof memoryEventLog>;
  readonly files: ReturnType<typeof memoryFileSystem>;
  hook: HookOutcome;
}

export type MemoryFleet = ReturnType<typeof memoryFleet>;

/** Dispatchers and agents over memory adapters and one manual clock; certificates and signatures are real. */
export function memoryFleet() {
  const clock = manualClock(Date.now());
  const world = memoryWorld({ clock });
  return {
    clock,
    network: world.network,
    dispatcher: (host = dispatcherHost, configuration = '') => testDispatcher(world, host, configuration),
    agent: (host: string, configuration = '', keyStore: Partial<KeyStore> = {}) =>
      testAgent(clock, world, host, configuration, keyStore),
    /** Moves time on until the promise is settled: in small steps, because what is real (keys, signatures) takes no virtual time. */
    async settle<T>(promise: PromiseLike<T>, step = 20): Promise<T> {
      let settled = false;
      const watched = Promise.resolve(promise).finally(() => {
        settled = true;
      });
      for (let turn = 0; !settled && turn < 50_000; turn += 1) await clock.advance(step);
      return watched;
    },
  };
}

function testDispatcher(world: World, host: string, text: string): TestDispatcher {
  const place = {
    home: '/etc/ctrl-exec',
    stateDir: '/var/lib/ctrl-exec',
    file: '/etc/ctrl-exec/ctrl-exec.conf',
    hostName: 'control',
    fileTrust: 'strict' as const,
  };
  const { settings } = value(
    parseConfiguration(text, place.file).andThen((parsed) => dispatcherSettings(parsed, place)),
  );
  const fleet: { hook: HookOutcome } = { hook: { kind: 'none' } };
  const ports = world.dispatcher(host);
  const events = memoryEventLog();
  const context: DispatcherContext = {
    ...ports,
    ...x509,
    authority: x509CertificateAuthority({ keyStore: ports.keyStore, random: ports.random, crypto }),
    configurationFile: place.file,
    events,
    files: memoryFileSystem({ [place.file]: text }),
    hook: memoryAuthHook(() => fleet.hook),
    principal: 'os:tester',
    settings,
  };
  const dispatcher = createDispatcher(() =>
    okAsync({ context, warnings: [], close: () => context.channel.close() }),
  );
  return Object.assign(fleet, { context, dispatcher, events });
}

function testAgent(
  clock: ManualClock,
  world: World,
  host: string,
  text: string,
  instead: Partial<KeyStore>,
): TestAgent {
  const keyStore = { ...memoryKeyStore(), ...instead };
  const events = memoryEventLog();
  const place = {
    home: '/etc/ctrl-exec-agent',
    stateDir: '/var/lib/ctrl-exec-agent',
    configurationFile: '/etc/ctrl-exec-agent/agent.conf',
    configurationRequired: false,
    fileTrust: 'strict' as const,
  };
  const files = memoryFileSystem({
    [place.configurationFile]: text,
    '/etc/ctrl-exec-agent/scripts.conf': 'greet = /opt/greet\nfail = /opt/fail\n',
    '/opt/greet': '',
    '/opt/fail': '',
  });
  const fleet: { hook: HookOutcome } = { hook: { kind: 'none' } };
  const runner = memoryProcessRunner({
    '/opt/greet': ({ args }) => processOutcome(0, `hello ${args.join(' ')}`),
    '/opt/fail': () => processOutcome(3, '', 'broken'),
  });
  const context: AgentContext = {
    ...world.agent(host, '192.0.2.77'),
    ...x509,
    actions: { functions: {}, runner, jobs: () => memoryJobs({ runner }) },
    environment: { PATH: '/usr/bin' },
    events,
    files,
    hook: () => memoryAuthHook(() => fleet.hook),
    hostName: host,
    jobs: () => memoryJobs({ runner, now: clock.now }),
    keyStore: () => keyStore,
    place,
    runner,
    version: '1.2.3',
  };
  const agent = createAgent(context);
  return Object.assign(fleet, { context, agent, events, files });
}

/** A CA and an identity, without a pairing port. */
export async function identify(target: TestDispatcher) {
  value(await target.dispatcher.setupCa());
  return value(await target.dispatcher.setup());
}

/** A CA, an identity, and an open pairing port. */
export async function setUp(target: TestDispatcher) {
  await identify(target);
  return value(await target.dispatcher.openPairing());
}

/** A fleet whose dispatcher has a CA and an identity, and no agent yet. */
export async function identifiedFleet(configuration = '') {
  const fleet = memoryFleet();
  const control = fleet.dispatcher(dispatcherHost, configuration);
  await identify(control);
  return { fleet, control };
}

/** A fleet whose dispatcher is in pairing mode, and `web-01`, which may pair. */
export async function pairingFleet(configuration = '') {
  const fleet = memoryFleet();
  const control = fleet.dispatcher(dispatcherHost, configuration);
  const mode = await setUp(control);
  return { fleet, control, mode, joining: fleet.agent('web-01') };
}

/** Pairs as two attentive people would: the codes are compared, then both say yes. */
export async function pairAgent(
  fleet: MemoryFleet,
  target: TestDispatcher,
  joining: TestAgent,
  options: Partial<PairingOptions> & { replace?: boolean } = {},
) {
  const paired = joining.agent.pair({
    dispatcher: dispatcherHost,
    trust: {
      kind: 'compare',
      confirm: async ({ code, request }) => {
        const waiting = value(await target.dispatcher.pairingRequests());
        const same = waiting.find(({ id }) => id === request);
        if (same?.code !== code) return false;
        const approved = await target.dispatcher.approve({ id: request, replace: options.replace ?? false });
        return approved.isOk();
      },
    },
    ...options,
  });
  return fleet.settle(paired);
}
