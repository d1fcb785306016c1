import { err, ok, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure, type Lock } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import type { DispatcherContext } from '../context.js';

/** Settles a host as it stands, because a person says so: the script may be begun there again. */
export function releaseLock(
  { clock, events, runStore }: DispatcherContext,
  { host: named, script }: { readonly host: string; readonly script: string },
): ResultAsync<readonly Lock[], CtrlExecError<'invalid_argument' | 'store_failed'>> {
  const now = clock.now();
  const release = (host: string) => runStore.release(host, script, now);
  return release(named)
    .andThen((freed) =>
      freed.length === 0 && named !== named.toLowerCase() ? release(named.toLowerCase()) : ok(freed),
    )
    .mapErr((error): CtrlExecError<'invalid_argument' | 'store_failed'> => error)
    .andThen((freed) => {
      if (freed.length === 0) {
        const reason = `no run holds a lock of ${printable(script, 80)} on ${printable(named, 80)}: list-locks shows those that are held`;
        return err(failure('invalid_argument', reason, { field: 'host', reason }));
      }
      for (const { host, runId } of freed)
        events.emit({ action: 'lock-released', level: 'warning', fields: { reqid: runId, script, host } });
      return ok(freed);
    });
}
