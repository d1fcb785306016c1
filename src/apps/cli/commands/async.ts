import { allAccepted } from '../../../domain/runs/host-words.js';
import { isUnlearnt } from '../../../domain/runs/progress.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../../sdk/dispatcher/fleet/ask.js';
import type { Submitted } from '../../../sdk/dispatcher/runs/run.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { statusJson, submissionJson, withRtt } from '../../json/hosts.js';
import { refuse, refuseRun } from '../failure.js';
import { interruptible } from '../interrupt.js';
import { type AskOptions, asking, type Ordered } from '../options.js';
import { withProgress } from '../progress.js';
import { showResult } from '../result-text.js';
import { warnOfPending } from '../revocations-pending.js';
import { table } from '../table.js';

/** `wait`: the time was up. */
const timedOut = 2;

const asTable = (
  results: ReadonlyArray<{ host: string; status: string; rtt: number; error?: string }>,
): string =>
  table(
    ['HOST', 'STATUS', 'RTT', 'ERROR'],
    results.map(({ host, status, rtt, error = '' }) => [host, status, `${rtt}ms`, error]),
  );

/** `run --async` */
export function submit(
  dispatcher: Dispatcher,
  ordered: Ordered,
  asked: Asking,
  json: boolean,
  interruption: ReturnType<typeof interruptible>,
): Promise<ExitCode> {
  return withProgress(ordered.hosts.length, json, (done) =>
    dispatcher.submit({
      ...ordered,
      ...asked,
      onResult: ({ host, status, rtt }) => done(host, status !== 'accepted', rtt),
    }),
  ).match(
    (run) => submitted(run, json, interruption),
    (error) => refuseRun(error, json),
  );
}

/** Prints what became of a submission. */
export function submitted(
  { reqid, results, warnings }: Submitted,
  json: boolean,
  interruption: ReturnType<typeof interruptible>,
): ExitCode {
  for (const warning of warnings) complain(`warning: not recorded: ${warning}`);
  if (json) say(JSON.stringify({ ok: 1, async: true, reqid, results: results.map(submissionJson) }));
  else process.stdout.write(`Submitted: ${reqid}\n${asTable(results)}`);
  warnOfPending(results);
  const open = results.some(({ state }) => state === 'running' || state === 'unknown');
  return interruption.interrupted(reqid, open) ?? (allAccepted(results) ? exitCodes.ok : exitCodes.failed);
}

export async function status(dispatcher: Dispatcher, reqid: string, options: AskOptions): Promise<ExitCode> {
  const { json = false } = options;
  const interruption = interruptible();
  return asking(options)
    .asyncAndThen((asked) =>
      withProgress(0, json, () => dispatcher.status(reqid, { ...asked, signal: interruption.signal })),
    )
    .match(
      (found) => {
        if (json) say(JSON.stringify({ ok: 1, ...statusJson(found, 'command') }));
        else for (const result of found.results) showResult(result);
        return interruption.code() ?? (found.results.some(isUnlearnt) ? exitCodes.failed : exitCodes.ok);
      },
      (error) => refuse(error, json),
    )
    .finally(() => interruption.end());
}

export async function wait(
  dispatcher: Dispatcher,
  reqid: string,
  options: AskOptions & { readonly timeout?: number },
): Promise<ExitCode> {
  const { json = false, timeout } = options;
  const interruption = interruptible();
  return asking(options)
    .asyncAndThen((asked) =>
      dispatcher.wait(reqid, {
        ...asked,
        signal: interruption.signal,
        ...(timeout !== undefined && { timeout }),
        ...(!json && {
          onResult: showResult,
        }),
      }),
    )
    .match(
      ({ outcome, status: found }) => {
        if (json) say(JSON.stringify({ ok: 1, outcome, ...statusJson(found, 'command') }));
        else for (const each of found.results) if (found.pending.includes(each.host)) showResult(each);
        return { fine: exitCodes.ok, failed: exitCodes.failed, 'timed-out': timedOut }[outcome];
      },
      (error) =>
        (error.code === 'aborted' ? interruption.interrupted(reqid) : undefined) ?? refuse(error, json),
    )
    .finally(() => interruption.end());
}

export async function cancel(
  dispatcher: Dispatcher,
  id: string,
  hosts: readonly string[],
  options: AskOptions,
): Promise<ExitCode> {
  const { json = false } = options;
  return asking(options)
    .asyncAndThen((asked) =>
      withProgress(0, json, () => dispatcher.cancel(id, { ...asked, ...(hosts.length > 0 && { hosts }) })),
    )
    .match(
      ({ reqid, results }) => {
        if (json) say(JSON.stringify({ ok: 1, reqid, results: results.map(withRtt) }));
        else process.stdout.write(asTable(results));
        const all = results.every(({ status: said }) => said === 'cancelling' || said === 'done');
        return all ? exitCodes.ok : exitCodes.failed;
      },
      (error) => refuse(error, json),
    );
}
