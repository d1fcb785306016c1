import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type { Clock } from '../../ports/clock.js';

/** What everything ends with that its caller has given up. */
export const aborted = (): CtrlExecError<'aborted'> => failure('aborted', 'stopped by the caller', {});

/** Whether work may go on. */
export const unlessAborted = (signal: AbortSignal | undefined): Result<void, CtrlExecError<'aborted'>> =>
  signal?.aborted ? err(aborted()) : ok(undefined);

/** Waits `delay` milliseconds on the given clock, or until the signal. */
export function wait(
  clock: Clock,
  delay: number,
  signal?: AbortSignal,
): ResultAsync<void, CtrlExecError<'aborted'>> {
  return new ResultAsync(
    new Promise<Result<void, CtrlExecError<'aborted'>>>((resolve) => {
      if (signal?.aborted) return resolve(err(aborted()));
      const stop = () => {
        cancel();
        resolve(err(aborted()));
      };
      const cancel = clock.after(delay, () => {
        signal?.removeEventListener('abort', stop);
        resolve(ok(undefined));
      });
      signal?.addEventListener('abort', stop, { once: true });
    }),
  );
}
