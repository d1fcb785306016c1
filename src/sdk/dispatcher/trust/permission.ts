import { err, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { TransportError } from '../../../ports/transport.js';
import { wait } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';

type Decision = ResultAsync<void, CtrlExecError<'denied'>>;

/** Whether agents may be asked that turn out to be behind a host argument; each is decided about once. */
export interface Permission {
  /** The decision about an agent; where that takes longer than a connection may be kept waiting, an error for the time being. */
  of(name: string): ResultAsync<void, TransportError>;
  /** If the last answer was for the time being: Ok once there is a yes, and the request may be tried again. */
  decided(): ResultAsync<void, TransportError> | undefined;
}

/** Milliseconds that a connection waits for a decision: less than an agent waits for a request. */
const patience = 1000;

/** Decisions by `permit`; `signal` ends the waiting for them. */
export function permissionBy(
  { clock }: Pick<DispatcherContext, 'clock'>,
  permit: (name: string) => Decision,
  signal: AbortSignal | undefined,
): Permission {
  const decisions = new Map<string, Decision>();
  let pending: Decision | undefined;

  /** The decision, or what else comes first. */
  const unless = (
    decision: Decision,
    otherwise: (stop: AbortSignal) => ResultAsync<void, TransportError>,
  ) => {
    const decided = new AbortController();
    const raced = Promise.race([decision, otherwise(decided.signal)]).finally(() => decided.abort());
    return new ResultAsync<void, TransportError>(raced);
  };

  return {
    of(name) {
      const decision = decisions.get(name) ?? permit(name);
      decisions.set(name, decision);
      pending = undefined;
      return unless(decision, (stop) =>
        wait(clock, patience, stop).andThen(() => {
          pending = decision;
          return err(failure('aborted', `nothing is decided about ${name} yet`, {}));
        }),
      );
    },
    decided: () => pending && unless(pending, (stop) => aborted(signal, stop)),
  };
}

const aborted = (signal: AbortSignal | undefined, stop: AbortSignal): ResultAsync<void, TransportError> =>
  new ResultAsync(
    new Promise((resolve) => {
      const onAbort = () => resolve(err(failure('aborted', 'stopped by the caller', {})));
      if (signal?.aborted) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true, signal: stop });
    }),
  );
