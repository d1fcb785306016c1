import { ok, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { DispatcherContext } from '../context.js';
import { recordFailed } from './record-failed.js';

/**
 * Does work that nobody else does at the same time, and lets go of it whatever comes of that. `held`: somebody else does it.
 * @param name what is done: `identity`, `maintain`, `pairing`, `renew:NAME`
 */
export function holding<T>(
  context: DispatcherContext,
  name: string,
  work: () => ResultAsync<T, CtrlExecError>,
): ResultAsync<T, CtrlExecError> {
  return context.mutex
    .acquire(name, context.clock.now())
    .mapErr((error): CtrlExecError => error)
    .andThen((held) => {
      const release = () =>
        held.release().orElse((error) => {
          recordFailed(context, error.message);
          return ok(undefined);
        });
      return new ResultAsync(Promise.resolve().then(work).finally(release));
    });
}
