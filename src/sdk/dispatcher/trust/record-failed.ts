import type { DispatcherContext } from '../context.js';

/** Something happened that the store could not take: the log has to hold it. */
export const recordFailed = (
  { events }: Pick<DispatcherContext, 'events'>,
  reason: string,
  reqid?: string,
): void => events.emit({ action: 'record-failed', level: 'error', fields: { reqid, reason } });
