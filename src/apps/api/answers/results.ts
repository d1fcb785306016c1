import type { z } from 'zod';
import type { Submission } from '../../../domain/runs/host-words.js';
import type { HostProgress } from '../../../domain/runs/progress.js';
import type { RunStatus } from '../../../sdk/dispatcher/runs/status.js';
import * as json from '../../host-json.js';
import { epochSeconds, type hostResult, type hostState, type submission } from '../document/schemas.js';

export const millisecondsText = (rtt: number): string => `${rtt}ms`;

/** A host of a run. Where there is no result at all, only why. */
export function resultJson(result: HostProgress): z.input<typeof hostResult> {
  const whole = json.resultJson(result);
  const { stdout, stderr, ...rest } = whole;
  const nothing = rest.exit === -1 && stdout === '' && stderr === '' && rest.error !== undefined;
  return nothing ? rest : whole;
}

const stateJson = (result: HostProgress): z.input<typeof hostState> => json.stateJson(result);

export const submissionJson = ({
  rtt,
  revocationsPendingSince,
  ...told
}: Submission): z.input<typeof submission> => ({
  ...told,
  ...json.pendingJson({ revocationsPendingSince }),
  rtt: millisecondsText(rtt),
});

/** How a run stands, in the two forms that there are. */
export function statusJson(status: RunStatus) {
  const { reqid, script, hosts, complete, completedAt, pending, results } = status;
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
      hosts: Object.fromEntries(results.map((result) => [result.host, stateJson(result)])),
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
