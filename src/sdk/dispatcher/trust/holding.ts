import { ok, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { LockKey } from '../../../ports/locks.js';
import type { DispatcherContext } from '../context.js';
import { freshReqid } from './agent-request.js';

/**
 * Holds a lock while `work` goes on, and lets go of it whatever comes of that. `locked`: somebody else has it.
 * @param work is given the request id under which the lock is listed
 */
export function holding<T>(
  context: DispatcherContext,
  key: LockKey,
  work: (reqid: string) => ResultAsync<T, CtrlExecError>,
): ResultAsync<T, CtrlExecError> {
  const { clock, events, locks } = context;
  const reqid = freshReqid(context);
  const release = () =>
    locks.release(reqid).orElse((error) => {
      events.emit({ action: 'record-failed', level: 'error', fields: { reqid, reason: error.message } });
      return ok(undefined);
    });
  return locks
    .acquire([key], reqid, clock.now())
    .mapErr((error): CtrlExecError => error)
    .andThen(
      () =>
        new ResultAsync(
          Promise.resolve()
            .then(() => work(reqid))
            .finally(release),
        ),
    );
}
