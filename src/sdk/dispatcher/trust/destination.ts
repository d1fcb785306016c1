import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { DispatcherIdentity, Presence } from './identity.js';

/** A host argument and what it stands for. */
export interface Addressed {
  /** The registry name, or the argument as it stands: the key of results and of locks. */
  readonly host: string;
  readonly record: AgentRecord | undefined;
  readonly dial: { readonly host: string; readonly port: number };
  /** For an argument that is no registered name: whether the agent that it turns out to be may be asked. */
  readonly approves?: (name: string) => ResultAsync<void, CtrlExecError<'denied'>>;
}

/** Whom a request is for. */
export interface Destination extends Addressed {
  /** Take a certificate that is out of date, its key being the pinned one. Default false. */
  readonly allowExpired?: boolean;
  /** Pin the key that answers, whatever its certificate names, where none is pinned yet. Default false. */
  readonly pinWhoever?: boolean;
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
}

/** A registered agent. */
export type Known = Destination & { readonly record: AgentRecord };

/** An agent where it is registered. @param port instead of the stored one */
export const destinationOf = (record: AgentRecord, port?: number) => ({
  host: record.name,
  record,
  dial: {
    host: record.endpoint.lookupBy === 'ip' ? record.endpoint.ip : record.endpoint.host,
    port: port ?? record.endpoint.port,
  },
});

/** As whom an agent is asked, and the CAs that its certificate may be of. */
export type AskedBy = Presence & Pick<DispatcherIdentity, 'cas'>;
