import { err, ok, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { inTurn } from '../../core/parallel.js';
import type { Signer } from '../../protocol/message-signing.js';
import type { AgentContext } from '../context.js';
import type { ServedTrust } from '../trust/current.js';
import { keepDenyList } from '../trust/deny-list.js';
import { type AgentIdentity, loadTrust } from '../trust/trust.js';
import { dispatcherOf, livingLines } from '../trust/trust-lines.js';
import { trustFiles } from '../trust/trusted-files.js';
import { type AgentState, loadState, requireIdentity } from './state.js';

/** What an agent answers by at the moment. */
export interface CurrentState {
  readonly state: AgentState;
  readonly identity: AgentIdentity;
}

/**
 * The state of an agent that serves, and its changes: one after the other, or an older reading could come last and stay
 * in force.
 */
export interface Served extends ServedTrust {
  current(): CurrentState;
  /** Who signs an answer on a connection on which this certificate was presented. */
  signerOf(presented: Certificate): Signer | undefined;
  /** Reads everything anew. Err: everything stays as it was, but what is good of a damaged file of revoked serials holds. */
  reload(): ResultAsync<void, CtrlExecError>;
}

const isStillTrusted = (
  context: AgentContext,
  state: AgentState,
  { id, certificate }: { readonly id: string; readonly certificate: Certificate },
): boolean =>
  !state.revoked.has(certificate.serial) &&
  dispatcherOf(context, state, certificate).unwrapOr(undefined) === id;

const notTrusted = (): CtrlExecError =>
  failure('protocol_violation', 'serial mismatch', { reason: 'serial mismatch' });

/** Identities whose connections may still be open. */
const maxSigners = 8;

/** @param takenOver called after each change, to renew what listens */
export function served(
  context: AgentContext,
  first: CurrentState,
  takenOver: (identity: AgentIdentity) => void,
): Served {
  let current = first;
  const inOrder = inTurn();
  const signers = new Map<string, Signer>();

  const take = (state: AgentState, identity: AgentIdentity) => {
    current = { state, identity };
    // The one in force is the youngest, also where it is one of before.
    signers.delete(identity.certificate.serial);
    signers.set(identity.certificate.serial, identity.signer);
    for (const serial of [...signers.keys()].slice(0, -maxSigners)) signers.delete(serial);
  };
  take(first.state, first.identity);

  const takeOver = ({ state, identity }: CurrentState) => {
    take(state, identity);
    takenOver(identity);
  };

  /** Nothing changes but that more is refused. */
  const deny = ({ denied }: AgentState) => {
    const { state, identity } = current;
    const revoked = new Set([...state.revoked, ...denied.serials]);
    current = { state: { ...state, denied, revoked, trust: livingLines(state, revoked) }, identity };
  };

  /** Identity and trust as they are stored: a pairing in another process, or a person, may have changed them. */
  const stored = (): ResultAsync<CurrentState, CtrlExecError> =>
    trustFiles(context, current.state.settings)
      .andThen(() => loadTrust(context, current.state.settings, current.state.denied))
      .andThen(({ trust }) => {
        const state = { ...current.state, ...trust };
        return requireIdentity(state).map((identity) => ({ state, identity }));
      });

  return {
    current: () => current,
    signerOf: ({ serial }) => signers.get(serial),
    reload: () =>
      inOrder(() =>
        loadState(context, current.state)
          .andThen((state) => requireIdentity(state).map((identity) => ({ state, identity })))
          .andThen(({ state, identity }) =>
            ResultAsync.fromSafePromise(keepDenyList(context, state)).andThen(() => {
              const { problem } = state.denied;
              if (problem === undefined) return ok(takeOver({ state, identity }));
              deny(state);
              return err(problem);
            }),
          ),
      ),
    change: (caller, decide) =>
      inOrder(() =>
        stored()
          .andThen((found) => {
            return !caller || isStillTrusted(context, found.state, caller)
              ? decide(found)
              : err(notTrusted());
          })
          .andThen((change) => {
            if (change === undefined) return ok(undefined);
            return context
              .keyStore(current.state.settings)
              .replace(change)
              .mapErr((error): CtrlExecError => error)
              .andThen(stored)
              .andThen((found) =>
                ResultAsync.fromSafePromise(keepDenyList(context, found.state)).map(() => takeOver(found)),
              );
          }),
      ),
  };
}
