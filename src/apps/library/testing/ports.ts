import { posix } from 'node:path';
import { memoryAuthHook } from '../../../adapters/memory/auth-hook.js';
import { memoryEventLog } from '../../../adapters/memory/event-log.js';
import { memoryFileSystem } from '../../../adapters/memory/file-system.js';
import { memoryJobs } from '../../../adapters/memory/jobs.js';
import { memoryJoinTokens } from '../../../adapters/memory/join-tokens.js';
import { memoryKeyStore } from '../../../adapters/memory/key-store.js';
import { memoryMutex } from '../../../adapters/memory/mutex.js';
import { memoryNetwork } from '../../../adapters/memory/network/network.js';
import { memoryPairing } from '../../../adapters/memory/pairing.js';
import { memoryProcessRunner } from '../../../adapters/memory/process-runner.js';
import { memoryRegistry } from '../../../adapters/memory/registry.js';
import { memoryRevocations, noKnownKeys } from '../../../adapters/memory/revocations.js';
import { memoryRunJournal } from '../../../adapters/memory/run-journal.js';
import { memoryRunStore } from '../../../adapters/memory/run-store.js';
import { nodeCrypto } from '../../../adapters/node-crypto/crypto.js';
import { systemRandom } from '../../../adapters/node-crypto/random.js';
import { systemClock } from '../../../adapters/system/clock.js';
import type { LogEvent } from '../../../domain/core/event.js';
import type { HookContext } from '../../../domain/runs/auth-hook.js';
import type { Clock } from '../../../ports/clock.js';
import type { FileSystem } from '../../../ports/file-system.js';
import type { AgentPorts, DispatcherPorts } from '../../../sdk/core/ports.js';
import { x509Authority, x509Lists, x509Requests } from '../../defaults.js';

/** Both sides of a network that exists in memory alone. */
export interface MemoryPorts {
  /**
   * For `openDispatcher({ home, ports })`. `home` need not exist. Agents reach it as `control.test`. Its hook allows everything,
   * and remembers in `asked` what it was asked.
   */
  readonly dispatcher: DispatcherPorts & {
    readonly events: { readonly events: readonly LogEvent[] };
    readonly hook: { readonly asked: readonly HookContext[] };
  };
  /**
   * For `openAgent({ home, ports, actions })`. `home` need not exist. The dispatcher reaches it as `agent.test`: pair with
   * `hostName: 'agent.test'`.
   */
  readonly agent: AgentPorts & { readonly events: { readonly events: readonly LogEvent[] } };
}

/** What the doubles stand on. */
export interface MemoryPortsOptions {
  /** Default: the system's. Timers of the network are always the system's. */
  readonly clock?: Clock | undefined;
}

/** Where the dispatcher is reached. */
export const controlHost = 'control.test';

/** Files that may be written anywhere: which directories there are is nothing that a test wants to say. */
function anywhere(files: FileSystem): FileSystem {
  return {
    ...files,
    replace: (path, text, mode) =>
      files.makeDirectory(posix.dirname(path), 0o755).andThen(() => files.replace(path, text, mode)),
  };
}

/** A network and the hosts on it. */
export function memoryWorld({ clock = systemClock() }: MemoryPortsOptions) {
  const crypto = nodeCrypto();
  const random = systemRandom();
  const network = memoryNetwork({ crypto });
  const shared = {
    certificateRequests: x509Requests(),
    clock,
    crypto,
    random,
    revocationLists: x509Lists({ crypto }),
  };
  return {
    network,

    /** @param host where agents reach its pairing port */
    dispatcher(host = controlHost): MemoryPorts['dispatcher'] {
      const keyStore = memoryKeyStore();
      const keys = noKnownKeys();
      const registry = memoryRegistry(keys);
      const joinTokens = memoryJoinTokens();
      const runStore = memoryRunStore();
      const pairing = memoryPairing({ registry, joinTokens, runStore });
      return {
        ...shared,
        authority: x509Authority({ keyStore, random, crypto }),
        channel: network.channel('192.0.2.1'),
        events: memoryEventLog(),
        files: anywhere(memoryFileSystem()),
        hook: memoryAuthHook(() => ({ kind: 'exited', code: 0 })),
        joinTokens,
        keyStore,
        listener: network.listener(host),
        mutex: memoryMutex(),
        pairing,
        registry,
        revocations: memoryRevocations(keys, { registry, pairing, runStore }),
        runStore,
      };
    },

    /** @param address from where it asks @param files absolute paths and their text */
    agent(host: string, address: string, files: Readonly<Record<string, string>> = {}): MemoryPorts['agent'] {
      const keyStore = memoryKeyStore();
      const journal = memoryRunJournal({ monotonic: clock.monotonic });
      const runner = memoryProcessRunner({});
      const jobs = memoryJobs({ runner, now: clock.now });
      return {
        ...shared,
        events: memoryEventLog(),
        files: anywhere(memoryFileSystem(files)),
        hook: () => memoryAuthHook(() => ({ kind: 'none' })),
        jobs: () => jobs,
        journal: () => journal,
        keyStore: () => keyStore,
        legacyPairing: network.legacyPairing(address),
        listener: network.listener(host),
        runner,
        channel: network.channel(address),
      };
    },
  };
}

/**
 * The ports of one dispatcher and one agent that reach each other in memory. Nothing is read from the disk but configuration
 * below `home`, where there is one; nothing is written.
 */
export function memoryPorts(options: MemoryPortsOptions = {}): MemoryPorts {
  const world = memoryWorld(options);
  return { dispatcher: world.dispatcher(), agent: world.agent('agent.test', '192.0.2.77') };
}
