import type { ResultAsync } from 'neverthrow';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../domain/agent-record.js';
import type { CtrlExecError } from '../domain/errors.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** A certificate issued at pairing, to be recorded before it is handed out. */
export interface Enrolment {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  readonly pin: KeyPin;
  readonly pairing: 'v1' | 'v2';
  /** Whether a name that is already registered may get this further pin. */
  readonly replace: boolean;
  /** Epoch milliseconds. */
  readonly at: number;
}

/**
 * The agents that this dispatcher knows.
 *
 * Contract: names are keys, compared as given (callers pass lower case); each call is one transaction, seen whole by
 * other processes or not at all; Ok means that it survives a power cut. Lists are sorted by name.
 */
export interface Registry {
  list(): StoreResult<readonly AgentRecord[]>;
  find(name: string): StoreResult<AgentRecord | undefined>;
  /** The agent that has a pin for this key, in whatever state. */
  findByKey(spkiSha256: string): StoreResult<AgentRecord | undefined>;
  /**
   * Writes the row as `issued`: a new record with this one pin, or (with `replace`) a further pin on the existing one,
   * which otherwise stands as it was. An older `issued` pin of the same name goes. A key that another name already
   * has pinned, and a registered name without `replace`, is `agent_exists` with the name that has it.
   */
  enrol(enrolment: Enrolment): StoreResult<AgentRecord, 'agent_exists'>;
  /**
   * The key was seen: its pin becomes `active`, takes its endpoint along, and every other pin of the name goes.
   * Idempotent; `agent_unknown` when the name has no such pin.
   */
  activate(name: string, spkiSha256: string): StoreResult<AgentRecord, 'agent_unknown'>;
  /** Drops `issued` pins older than `issuedBefore` (epoch ms), and records left without a pin; returns what went. */
  dropStaleEnrolments(issuedBefore: number): StoreResult<readonly { name: string; pin: KeyPin }[]>;
  /** Replaces what an operator or a discovery may change. */
  update(
    name: string,
    change: { readonly endpoint?: AgentEndpoint; readonly tags?: Readonly<Record<string, string>> },
  ): StoreResult<AgentRecord, 'agent_unknown'>;
  /** Gives an agent another name; `agent_exists` when that one is taken (also by itself). */
  rename(name: string, to: string): StoreResult<AgentRecord, 'agent_unknown' | 'agent_exists'>;
  /** Removes the agent; returns the record that was there. */
  remove(name: string): StoreResult<AgentRecord, 'agent_unknown'>;
}
