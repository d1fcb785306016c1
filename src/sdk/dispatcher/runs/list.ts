import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { cursorBehind, type RunQuery, readRunQuery } from '../../../domain/runs/query.js';
import type { RunSummary } from '../../../domain/runs/summary.js';
import type { DispatcherContext } from '../context.js';

/** One page of the list of runs. */
export interface RunPage {
  /** The latest first. */
  readonly runs: readonly RunSummary[];
  /** Where there are more: what gives the next page. Runs that start meanwhile do not move it. */
  readonly nextCursor?: string;
}

/** Runs as they are recorded, the latest first; no agent is asked. */
export function listRuns(
  { clock, runStore }: DispatcherContext,
  query: RunQuery = {},
): ResultAsync<RunPage, CtrlExecError<'invalid_argument' | 'store_failed'>> {
  return readRunQuery(query)
    .mapErr((error): CtrlExecError<'invalid_argument' | 'store_failed'> => error)
    .asyncAndThen(({ limit, behind }) => {
      const { limit: _limit, cursor: _cursor, host, outcome: state, ...rest } = query;
      // A registered name is recorded in lower case, another argument as it was given.
      const hosts = host !== undefined && { hosts: [...new Set([host, host.toLowerCase()])] };
      return runStore
        .list({
          ...rest,
          ...hosts,
          ...(state && { state }),
          ...(behind && { behind }),
          now: clock.now(),
          limit: limit + 1,
        })
        .map((found): RunPage => {
          const runs = found.slice(0, limit);
          const last = found.length > limit && runs.at(-1);
          return { runs, ...(last && { nextCursor: cursorBehind(last) }) };
        });
    });
}
