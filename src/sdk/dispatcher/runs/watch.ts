import type { ResultAsync } from 'neverthrow';
import { guarded } from '../../core/callback.js';
import type { DispatcherContext } from '../context.js';
import type { Asking } from '../fleet/ask.js';
import { type RunStatus, status } from './status.js';
import { type EndedHost, type Waited, type WaitFailure, waitForRun } from './wait.js';

export interface WatchOptions extends Asking {
  /** Called first, with how the run stands. */
  readonly onStatus?: (status: RunStatus) => void;
  /** Called with each host whose end was not known then. */
  readonly onResult?: (host: EndedHost) => void;
}

/** Tells how a run stands, and then how it ends, host by host, until every host has ended. */
export function watchRun(
  context: DispatcherContext,
  reqid: string,
  { onStatus, onResult, ...asking }: WatchOptions = {},
): ResultAsync<Waited, WaitFailure> {
  const first = guarded(onStatus);
  const later = guarded(onResult);
  return status(context, reqid, asking)
    .mapErr((error): WaitFailure => error)
    .andThen((before) => {
      first.tell(before);
      const { hosts, pending } = before;
      const known = new Set(hosts.filter((host) => !pending.includes(host)));
      const tell = (ended: EndedHost) => {
        if (!known.has(ended.host)) later.tell(ended);
      };
      return waitForRun(context, reqid, { ...asking, onResult: tell });
    })
    .map((waited) => {
      first.rethrow();
      later.rethrow();
      return waited;
    });
}
