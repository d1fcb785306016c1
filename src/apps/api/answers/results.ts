import type { z } from 'zod';
import type { HostResult, HostState, Submission } from '../../../domain/runs/record.js';
import type { RunStatus } from '../../../sdk/dispatcher/runs/status.js';

import type { hostResult, hostState, submission } from '../document/schemas.js';
import { epochSeconds } from '../document/schemas.js';

type Fetched = { readonly fetchError?: string };

export const millisecondsText = (rtt: number): string => `${rtt}ms`;

/** A host of a run. Where there is no result at all, only why. */
export function resultJson(result: HostResult & Fetched): z.input<typeof hostResult> {
  const { host, script, exit, stdout, stderr, error, truncated, reportedHostname, fetchError, rtt, reqid } =
    result;
  const nothing = exit === -1 && stdout === '' && stderr === '' && error !== undefined;
  return {
    host,
    ...(!nothing && { script }),
    exit,
    ...(!nothing && { stdout, stderr }),
    ...(error !== undefined && { error }),
    ...(truncated && { truncated }),
    ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
    ...(fetchError !== undefined && { fetch_error: fetchError }),
    rtt: millisecondsText(rtt),
    reqid,
  };
}

function stateJson(state: HostState & Fetched): z.input<typeof hostState> {
  const { host: _, unheard: __, fetchError, ...known } = state;
  return { ...known, ...(fetchError !== undefined && { fetch_error: fetchError }) };
}

export const submissionJson = ({ rtt, ...told }: Submission): z.input<typeof submission> => ({
  ...told,
  rtt: millisecondsText(rtt),
});

/** How a run stands, in the two forms that there are. */
export function statusJson(status: RunStatus) {
  const { reqid, script, hosts, complete, completedAt, pending, results, states } = status;
  const completed = completedAt !== undefined && { completed: epochSeconds(completedAt) };
  if (status.mode === 'async')
    return {
      ok: true as const,
      reqid,
      script,
      mode: 'async' as const,
      complete,
      pending: [...pending],
      ...completed,
      hosts: Object.fromEntries(states.map((state) => [state.host, stateJson(state)])),
    };
  return {
    ok: true as const,
    reqid,
    script,
    mode: 'sync' as const,
    complete,
    ...(pending.length > 0 && { pending: [...pending] }),
    hosts: [...hosts],
    ...completed,
    results: results.map(resultJson),
  };
}
