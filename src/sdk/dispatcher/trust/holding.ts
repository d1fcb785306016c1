import { ok, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { DispatcherContext } from '../context.js';

/**
 * Does work that nobody else does at the same time, and lets go of it whatever comes of that. `held`: somebody else does it.
 * @param name what is done: `identity`, `maintain`, `pairing`, `renew:NAME`
 */
export function holding<T>(
  { clock, events, mutex }: DispatcherContext,
  name: string,
  work: () => ResultAsync<T, CtrlExecError>,
): ResultAsync<T, CtrlExecError> {
  return mutex
    .acquire(name, clock.now())
    .mapErr((error): CtrlExecError => error)
    .andThen((held) => {
      const release = () =>
        held.release().orElse((error) => {
          events.emit({
            action: 'record-failed',
            level: 'error',
            fields: { reqid: undefined, reason: error.message },
          });
          return ok(undefined);
        });
      return new ResultAsync(Promise.resolve().then(work).finally(release));
    });
}
