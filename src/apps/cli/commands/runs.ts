import type { RunQuery } from '../../../domain/runs/query.js';
import type { RunSummary } from '../../../domain/runs/summary.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { type ExitCode, exitCodes } from '../../command-line.js';
import { refuse } from '../failure.js';
import { interruptible } from '../interrupt.js';
import { type AskOptions, asking } from '../options.js';
import { refused } from '../printing.js';
import { withProgress } from '../progress.js';
import { moment, table } from '../table.js';
import { submitted } from './async.js';
import { shown } from './run.js';

export type RunsOptions = Pick<RunQuery, 'host' | 'script' | 'outcome' | 'limit'> & {
  readonly user?: string;
  readonly json?: boolean;
};

export function listRuns(dispatcher: Dispatcher, options: RunsOptions): Promise<ExitCode> {
  const { json, user, ...query } = options;
  return dispatcher.runs({ ...query, ...(user !== undefined && { username: user }) }).match(({ runs }) => {
    process.stdout.write(json ? `${JSON.stringify({ ok: 1, runs: runs.map(asJson) })}\n` : asTable(runs));
    return exitCodes.ok;
  }, refused(options));
}

const asTable = (runs: readonly RunSummary[]): string =>
  table(
    ['REQID', 'STARTED', 'SCRIPT', 'MODE', 'USER', 'OUTCOME', 'HOSTS', 'FAILED'],
    runs.map(({ reqid, startedAt, script, mode, username, outcome, hosts, counts, failed }) => [
      reqid,
      moment(startedAt),
      script,
      mode,
      username || '-',
      outcome,
      describeCounts(hosts.length, counts),
      failed.join(',') || '-',
    ]),
  );

const describeCounts = (all: number, counts: RunSummary['counts']): string => {
  const [[state, count] = ['', 0], ...more] = Object.entries(counts);
  if (more.length === 0 && count === all) return `${all} ${state}`;
  return Object.entries(counts)
    .map(([each, some]) => `${some} ${each}`)
    .join(', ');
};

const asJson = ({ sourceIp, startedAt, completedAt, retryOf, ...run }: RunSummary) => ({
  ...run,
  source_ip: sourceIp,
  started: new Date(startedAt).toISOString(),
  ...(completedAt !== undefined && { completed: new Date(completedAt).toISOString() }),
  ...(retryOf !== undefined && { retry_of: retryOf }),
});

export type RetryOptions = AskOptions & { readonly async?: boolean; readonly timeout?: number };

export async function retry(dispatcher: Dispatcher, reqid: string, options: RetryOptions): Promise<ExitCode> {
  const { json = false, timeout } = options;
  const interruption = interruptible();
  return asking(options)
    .map((asked) => ({
      ...asked,
      signal: interruption.signal,
      ...(timeout !== undefined && { timeout }),
    }))
    .asyncAndThen((asked) =>
      options.async
        ? withProgress(0, json, () => dispatcher.retry(reqid, { ...asked, async: true })).map((run) =>
            submitted(run, json, interruption),
          )
        : withProgress(0, json, () => dispatcher.retry(reqid, asked)).map((run) =>
            shown(run, json, interruption),
          ),
    )
    .match(
      (code) => code,
      (error) => refuse(error, json),
    )
    .finally(() => interruption.end());
}
