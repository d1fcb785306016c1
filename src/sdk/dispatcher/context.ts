import type { DispatcherSettings } from '../../domain/settings/dispatcher.js';
import type { AuthHook } from '../../ports/auth-hook.js';
import type { CertificateAuthority } from '../../ports/certificate-authority.js';
import type { CertificateRequests } from '../../ports/certificate-requests.js';
import type { Channel } from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { EventLog } from '../../ports/event-log.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { JoinTokens } from '../../ports/join-tokens.js';
import type { DispatcherItem, KeyStore } from '../../ports/key-store.js';
import type { Listener } from '../../ports/listener.js';
import type { Mutex } from '../../ports/mutex.js';
import type { Pairing } from '../../ports/pairing.js';
import type { Random } from '../../ports/random.js';
import type { Registry } from '../../ports/registry.js';
import type { RevocationLists } from '../../ports/revocation-lists.js';
import type { Revocations } from '../../ports/revocations.js';
import type { RunStore } from '../../ports/run-store.js';

/** Everything that a dispatcher's use cases stand on. */
export interface DispatcherPorts {
  readonly authority: CertificateAuthority;
  readonly certificateRequests: CertificateRequests;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly files: FileSystem;
  readonly hook: AuthHook;
  readonly joinTokens: JoinTokens;
  readonly keyStore: KeyStore<DispatcherItem>;
  readonly listener: Listener;
  readonly mutex: Mutex;
  readonly pairing: Pairing;
  readonly random: Random;
  readonly registry: Registry;
  readonly revocationLists: RevocationLists;
  readonly revocations: Revocations;
  readonly runStore: RunStore;
}

export interface DispatcherContext extends DispatcherPorts {
  readonly settings: DispatcherSettings;
  /** The operating-system user who began this process, as runs record it: `os:NAME` or `os:uid:1234`. */
  readonly principal: string;
  /** Where the configuration is, and is written by `setupDispatcher`. */
  readonly configurationFile: string;
}
