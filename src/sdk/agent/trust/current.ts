import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { AgentItem, KeyStoreChange } from '../../../ports/key-store.js';
import type { AgentIdentity, AgentTrust } from './trust.js';

/** Who an agent is and whom it trusts at the moment. */
export interface Current {
  readonly state: AgentTrust & { readonly settings: AgentSettings };
  readonly identity: AgentIdentity;
}

/** Trust and identity of an agent that serves, and how they change. */
export interface ServedTrust {
  /** Asked again after every wait: what was revoked meanwhile is refused. */
  current(): Current;
  /**
   * Writes what `decide` makes of what is stored now, and takes it over at once; undefined: nothing is to be done. Err:
   * nothing was written, or what was written takes force with the next start.
   * @param caller must still be trusted by what is stored: a person may have taken it out a moment ago
   */
  change(
    caller: { readonly id: string; readonly certificate: Certificate } | undefined,
    decide: (current: Current) => ResultAsync<KeyStoreChange<AgentItem> | undefined, CtrlExecError>,
  ): ResultAsync<void, CtrlExecError>;
}
