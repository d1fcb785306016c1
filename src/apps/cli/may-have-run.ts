import type { HostResult } from '../../domain/runs/record.js';

/** Whether the script may have been begun on this host. */
export const mayHaveRun = ({ exit, unheard }: Pick<HostResult, 'exit' | 'unheard'>): boolean =>
  unheard === true || exit >= 0;

/** The hosts where it may go on: begun, as far as is known, and without an end. */
export const mayGoOn = (results: readonly HostResult[]): readonly string[] =>
  results.filter((result) => mayHaveRun(result) && result.exit < 0).map(({ host }) => host);
