import type { ResultAsync } from 'neverthrow';
import type { JoinTokens } from '../../../ports/join-tokens.js';
import type { Mutex } from '../../../ports/mutex.js';
import type { Pairing, PairingRequests } from '../../../ports/pairing.js';
import type { Registry } from '../../../ports/registry.js';
import type { Revocations } from '../../../ports/revocations.js';
import type { RunStore } from '../../../ports/run-store.js';
import { sqliteJoinTokens } from '../shared/join-tokens.js';
import { sqlMutex } from '../shared/mutex.js';
import { sqlPairing, sqlPairingRequests } from '../shared/pairing.js';
import { sqliteRegistry } from '../shared/registry.js';
import { sqliteRevocations } from '../shared/revocations.js';
import { sqlRunStore } from '../shared/run-store.js';
import type { StoreFailed } from '../shared/transaction.js';
import { openDatabase } from './database.js';
import { sqliteSessions } from './sessions.js';

/** Everything that a dispatcher keeps, in one SQLite file. */
export interface SqliteStores {
  readonly registry: Registry;
  readonly pairing: Pairing;
  /** For `separatePairing`, where the registry or the join tokens are kept elsewhere. */
  readonly pairingRequests: PairingRequests;
  readonly revocations: Revocations;
  readonly runStore: RunStore;
  readonly joinTokens: JoinTokens;
  readonly mutex: Mutex;
  /** Ends this session and closes the file; calls after it are `store_failed`. */
  close(): Promise<void>;
}

/**
 * Opens `path`, creating it when there is none; any number of processes may have it open. `sessionsDirectory` is where
 * sessions show that they live: a local directory that nothing else cleans up.
 */
export const openSqliteStores = (options: {
  readonly path: string;
  readonly sessionsDirectory: string;
}): ResultAsync<SqliteStores, StoreFailed> =>
  openDatabase(options.path).map((database) => {
    const sessions = sqliteSessions(database, options.sessionsDirectory);
    return {
      registry: sqliteRegistry(database),
      pairing: sqlPairing(database),
      pairingRequests: sqlPairingRequests(database),
      revocations: sqliteRevocations(database),
      runStore: sqlRunStore(database, sessions),
      joinTokens: sqliteJoinTokens(database),
      mutex: sqlMutex(database, sessions),
      close: async () => {
        await sessions.close();
        database.close();
        // A call that was still waiting may have come in between.
        await sessions.close();
      },
    };
  });
