import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../domain/trust/agent-record.js';
import type { AgentStanding, StandingChange } from '../domain/trust/agent-standing.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** Why a certificate of a pairing cannot be recorded. */
export type EnrolmentRefusal = 'agent_exists' | 'downgrade_refused' | 'key_banned';

/** A certificate issued at pairing, to be recorded before it is handed out. */
export interface Enrolment {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  readonly pin: KeyPin;
  readonly pairing: 'v1' | 'v2';
  /** Whether a name that is already registered may get this further pin. */
  readonly replace: boolean;
  /** What the agent learnt at pairing: it takes the place of what is known when the pin becomes active. */
  readonly standing: AgentStanding;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** An agent that another installation has paired; its key is not known here yet. */
export interface Adoption {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  readonly tags: Readonly<Record<string, string>>;
  readonly standing: AgentStanding;
  /** Epoch milliseconds. */
  readonly pairedAt: number;
}

/** What an operator or a discovery may change of an agent; what is left out stays. */
export interface AgentChange {
  /** The name that it has from now on; its own is no change. */
  readonly name?: string;
  /** Those fields of it that are given. */
  readonly endpoint?: Partial<AgentEndpoint>;
  /** Replaced as a whole. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Forget that it has signed: it may be a legacy agent again. */
  readonly unsigned?: true;
}

/** Which agents are listed: those that meet all that is given. */
export interface AgentListing {
  /** Those of these names. */
  readonly names?: readonly string[];
  /** Those that have each of these tags, with just that value. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Those that sign, or whose last answer had no signature. */
  readonly speaks?: 'signed' | 'unsigned';
  /** Only what comes behind this name in the list, whether there is such an agent (still) or not. */
  readonly after?: string;
  /** At most so many. Default: no limit. */
  readonly limit?: number;
}

/**
 * The agents that this dispatcher knows.
 *
 * Contract: names are keys, compared as given (callers pass lower case); each call is one transaction, seen whole by
 * other processes or not at all; Ok means that it survives a power cut. Lists are sorted by name. A key that is banned
 * (`Revocations.banOf`) is `key_banned` wherever a pin is written; the certificate of a pin that goes is kept for `Revocations.issued`.
 * A registry without access to these leaves both out: the dispatcher then refuses such a key when it is met.
 */
export interface Registry {
  /** Agents, by name. @param listing default: every agent */
  list(listing?: AgentListing): StoreResult<readonly AgentRecord[]>;
  /** The agent of this name, compared as given. */
  find(name: string): StoreResult<AgentRecord | undefined>;
  /** The agent that has a pin for this key, in whatever state. */
  findByKey(spkiSha256: string): StoreResult<AgentRecord | undefined>;
  /**
   * Writes the row as `issued`: a new record with this one pin, or (with `replace`) a further pin on the existing one,
   * which otherwise stands as it was. An older `issued` pin of a pairing of the same name goes. A key that another name already
   * has pinned, and a registered name without `replace`, is `agent_exists` with the name that has it. Version 1 for a name
   * that ever paired by version 2, under that name or before it was renamed or removed, is `downgrade_refused`.
   */
  enrol(enrolment: Enrolment): StoreResult<AgentRecord, EnrolmentRefusal>;
  /**
   * Adds agents without a pin, all or none; a name that is registered, or was before it was renamed or removed, is left out.
   * Returns the names that were added.
   */
  adopt(agents: readonly Adoption[]): StoreResult<readonly string[]>;
  /** Names that were registered, and are so no more: they were renamed or removed. Sorted. */
  formerNames(): StoreResult<readonly string[]>;
  /**
   * The first active pin of an agent that has none, `active` at once. The key that it has active already is no change; where it has
   * another, or another name has this one, that is `agent_exists` with the name that has it.
   */
  pin(
    name: string,
    pin: Omit<KeyPin, 'state' | 'endpoint' | 'renewal'>,
  ): StoreResult<AgentRecord, 'agent_unknown' | 'agent_exists' | 'key_banned'>;
  /**
   * The key was seen: its pin becomes `active` in place of the one that was. One that came of a pairing takes its endpoint
   * and its standing along, the agent counts as paired when it was issued, and every other pin of the name goes; beside one
   * that came of a renewal, the pin of a pairing under way stays. Where the key is active and `issued` at once (renewed over the
   * same key), the `issued` pin is meant. Idempotent; `agent_unknown` when the name has no such pin, `key_banned` when its key was
   * banned before it was seen.
   */
  activate(name: string, spkiSha256: string): StoreResult<AgentRecord, 'agent_unknown' | 'key_banned'>;
  /**
   * Adds the pin of a renewed certificate as `issued` (`renewal` is set), in place of an `issued` one of an earlier
   * renewal; the pin of a pairing stays. It never lapses. The key may be the one that is active: then a certificate follows another.
   * Where the key that is active is banned, that is `key_banned` as well.
   */
  renew(
    name: string,
    pin: Omit<KeyPin, 'state'>,
  ): StoreResult<AgentRecord, 'agent_unknown' | 'agent_exists' | 'key_banned'>;
  /**
   * Notes what the agent has acknowledged, or that it answered; see `withChange`. Cheap enough for every contact:
   * `lastContact` may lag by a minute, and a change that says nothing else new is not written.
   */
  note(name: string, change: StandingChange): StoreResult<AgentRecord, 'agent_unknown'>;
  /** Drops `issued` pins of pairings older than `issuedBefore` (epoch ms), and records that this leaves without a pin, unless they were adopted; returns what went. */
  dropStaleEnrolments(issuedBefore: number): StoreResult<readonly { name: string; pin: KeyPin }[]>;
  /** All of a change or nothing of it; `agent_exists` when another agent has the new name. */
  update(name: string, change: AgentChange): StoreResult<AgentRecord, 'agent_unknown' | 'agent_exists'>;
  /** Removes the agent; returns the record that was there. */
  remove(name: string): StoreResult<AgentRecord, 'agent_unknown'>;
}
