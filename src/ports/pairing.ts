import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { Observation } from '../domain/pairing/observation.js';
import type { Admission, PairingDecision, PairingRequest, PlaceLimits } from '../domain/pairing/request.js';
import type { AgentRecord } from '../domain/trust/agent-record.js';
import type { Enrolment, EnrolmentRefusal } from './registry.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** A request that wants a place. */
export interface PairingBegin {
  readonly request: PairingRequest;
  /** Of the kind of its place. */
  readonly limits: PlaceLimits;
}

/** A request whose code is known: M3 was answered. */
export interface PairingOpening {
  readonly id: string;
  readonly code: string;
  /** Epoch milliseconds until which it waits from now on. */
  readonly expiresAt: number;
  /** SHA-256 of the CSR's DER, hex. */
  readonly csrSha256: string;
  /** The name that a request with a join token asks for: the token is bound to its CSR, and approves it. */
  readonly joinAs?: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** A certificate for an approved request, to be recorded before it is handed out. */
export interface PairingIssue {
  readonly id: string;
  readonly enrolment: Enrolment;
  /** SHA-256 of the CSR's DER, hex. */
  readonly csrSha256: string;
}

/** A key that was seen. */
export interface PairingActivation {
  readonly name: string;
  readonly spkiSha256: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** An agent that is to be forgotten. */
export interface Unpairing {
  readonly name: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** What became of an observation. */
export interface Observed {
  /** As it was known before this answer. */
  readonly before: AgentRecord;
  /** As it is known now. */
  readonly record: AgentRecord;
}

/**
 * Pairing requests, shared by the process in pairing mode and every terminal that decides on them, and what pairing does with
 * the registry, with join tokens and with locks.
 *
 * Contract: each call is one transaction and durable when it returns Ok, and can be repeated; a decision is taken once. Lists
 * are sorted by `createdAt`, then id. No call reads requests that have ended long ago.
 */
export interface Pairing {
  /**
   * Adds a request if there is a place for it (`admit`); an id is used once (again: `store_failed`). Those that give way to
   * it are `expired`.
   */
  begin(start: PairingBegin): StoreResult<Admission>;
  /** Those of these ids that there are, in whatever state. */
  find(ids: readonly string[]): StoreResult<readonly PairingRequest[]>;
  /** Those that hold a place at this moment (epoch ms): they wait, or were given up. */
  held(at: number): StoreResult<readonly PairingRequest[]>;
  /**
   * Opens a request that is `started`; with `joinAs` it binds its join token and approves the request as that name. `not_ready` with its
   * state; `pairing_denied` when the token cannot be used, and why.
   */
  open(
    opening: PairingOpening,
  ): StoreResult<PairingRequest, 'pairing_unknown' | 'not_ready' | 'pairing_denied'>;
  /**
   * Records what an operator decided, if the request is `open`, undecided and not expired; else
   * `not_ready` with its state (`decided` when somebody was faster). A denial ends the request. It is possible for one that was given up as well, and frees its place.
   */
  decide(decision: {
    readonly id: string;
    readonly decision: PairingDecision;
    /** Epoch milliseconds. */
    readonly at: number;
  }): StoreResult<PairingRequest, 'pairing_unknown' | 'not_ready'>;
  /**
   * Records the certificate as `Registry.enrol` does and sets an approved request to `issued`. A join token and its name are
   * judged again: `pairing_denied` and why, `agent_exists` where the name became active meanwhile. Repeated with the same
   * certificate it changes nothing.
   */
  issue(
    issue: PairingIssue,
  ): StoreResult<PairingRequest, 'pairing_unknown' | 'not_ready' | 'pairing_denied' | EnrolmentRefusal>;
  /**
   * The key was seen: its pin becomes active as by `Registry.activate`. One that came of a pairing also burns the bound
   * join tokens of the name, and sets its request to `active`. The key of a join token does not take the place of an active one: `agent_exists`.
   */
  activate(
    activation: PairingActivation,
  ): StoreResult<AgentRecord, 'agent_unknown' | 'agent_exists' | 'key_banned'>;
  /**
   * Records everything that one answer of an agent shows. The agent is the one that has a pin for the key; nobody: `agent_unknown`.
   * The first answer of an issued pin activates it as `activate` does; over one key the serial says which pin is meant. After that the
   * change and the tags are noted, and `at` as the last contact. Where the activation is refused, nothing is noted. An answer without a signature of an
   * agent that has signed (or has just been activated as one that signs) is `unverified`, and changes nothing. Idempotent.
   *
   * Cheap enough for every answer: one that shows nothing new writes nothing. When it returns Ok, what it noted survives a power cut, except
   * `lastContact` and tags, which may be written later and lost.
   */
  observed(
    observation: Observation,
  ): StoreResult<Observed, 'agent_unknown' | 'agent_exists' | 'key_banned' | 'unverified'>;
  /** Removes the agent as `Registry.remove` does, and releases its locks: nobody can ask it any more how a script ended there. */
  unpair(unpairing: Unpairing): StoreResult<AgentRecord, 'agent_unknown'>;
  /** Ends those that wait: the ones with these ids, else all. Returns how many. */
  end(end: { readonly ids?: readonly string[]; readonly state: 'denied' | 'expired' }): StoreResult<number>;
  /** How many were created after this moment (epoch ms) and have ended after their code was known, neither paired nor denied by anybody. */
  givenUp(since: number): StoreResult<number>;
  /** Forgets what ended before `endedLifetime`, or was issued before `issuedLifetime`. Returns how many. */
  purge(at: number): StoreResult<number>;
}

/** The part of pairing that concerns its requests alone, and what the rest is made from where the registry, the join tokens or the runs are kept elsewhere. */
export interface PairingRequests
  extends Omit<Pairing, 'open' | 'issue' | 'activate' | 'observed' | 'unpair'> {
  /** Those in state `issued` that were issued for this name. */
  named(name: string): StoreResult<readonly PairingRequest[]>;
  /** Writes a request that there is. */
  replace(request: PairingRequest): StoreResult<PairingRequest>;
}
