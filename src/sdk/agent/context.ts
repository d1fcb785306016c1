import type { Actions } from '../../domain/runs/action.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import type { AuthHook } from '../../ports/auth-hook.js';
import type { CertificateRequests } from '../../ports/certificate-requests.js';
import type { Channel } from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { EventLog } from '../../ports/event-log.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { Jobs } from '../../ports/jobs.js';
import type { AgentItem, KeyStore } from '../../ports/key-store.js';
import type { LegacyPairing } from '../../ports/legacy-pairing.js';
import type { Listener } from '../../ports/listener.js';
import type { ProcessRunner } from '../../ports/process-runner.js';
import type { Random } from '../../ports/random.js';
import type { RevocationLists } from '../../ports/revocation-lists.js';
import type { RunJournal } from '../../ports/run-journal.js';
import type { AgentPlace } from '../core/place.js';

/** Everything that an agent's use cases stand on. */
export interface AgentPorts {
  readonly certificateRequests: CertificateRequests;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly files: FileSystem;
  /** The hook that these settings name. */
  hook(settings: AgentSettings): AuthHook;
  /** Opened with the state of these settings. */
  jobs(settings: AgentSettings): Jobs;
  /** Opened with the state of these settings. */
  journal(settings: AgentSettings): RunJournal;
  /** The store at the paths that these settings name. */
  keyStore(settings: AgentSettings): KeyStore<AgentItem>;
  readonly legacyPairing: LegacyPairing;
  readonly listener: Listener;
  readonly random: Random;
  readonly revocationLists: RevocationLists;
  readonly runner: ProcessRunner;
  readonly channel: Channel;
}

/** Functions of this process that dispatchers may run as if they were scripts, and what executes them. */
export interface AgentActions {
  /** None: nothing of this is used. */
  readonly functions: Actions;
  /** Knows their paths only. */
  readonly runner: ProcessRunner;
  /** Opened with the state of these settings. They end with the agent. */
  jobs(settings: AgentSettings): Jobs;
}

export interface AgentContext extends AgentPorts {
  readonly actions: AgentActions;
  readonly place: AgentPlace;
  /** What this host calls itself. */
  readonly hostName: string;
  /** Version of this package, as `/ping` reports it. */
  readonly version: string;
  /** The whole environment of scripts. */
  readonly environment: Readonly<Record<string, string>>;
}
