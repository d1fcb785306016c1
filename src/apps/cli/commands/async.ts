import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../../sdk/dispatcher/fleet/ask.js';
import type { RunStatus } from '../../../sdk/dispatcher/runs/status.js';
import type { Submitted } from '../../../sdk/dispatcher/runs/submit.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { refuse, refuseRun } from '../failure.js';
import { interruptible } from '../interrupt.js';
import { type AskOptions, asking, type Ordered } from '../options.js';
import { withProgress } from '../progress.js';
import { resultJson, resultText, stateJson, stateText } from '../result-text.js';
import { table } from '../table.js';

/** `wait`: the time was up. */
const timedOut = 2;

const shownRtt = <T extends { readonly rtt: number }>(result: T) => ({ ...result, rtt: `${result.rtt}ms` });

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
  if (json) say(JSON.stringify({ ok: 1, async: true, reqid, results: results.map(shownRtt) }));
  else process.stdout.write(`Submitted: ${reqid}\n${asTable(results)}`);
  const all = results.every(({ status }) => status === 'accepted');
  // Of one that is not accepted it is not known here whether its agent was reached; of one that is busy it is.
  const somewhere = results.some(({ status }) => status !== 'busy');
  return interruption.interrupted(reqid, somewhere) ?? (all ? exitCodes.ok : exitCodes.failed);
}

const statusJson = (status: RunStatus) => {
  const { reqid, script, mode, hosts, complete, completedAt, pending, results, states } = status;
  const common = { reqid, script, mode, complete, pending };
  if (mode === 'async')
    return { ...common, hosts: Object.fromEntries(states.map((state) => [state.host, stateJson(state)])) };
  const completed = completedAt !== undefined && { completed: Math.floor(completedAt / 1000) };
  return { ...common, hosts, ...completed, results: results.map(resultJson) };
};

/** One host of a run, whatever is known of it. */
function hostText({ reqid, results, states }: RunStatus, host: string): string {
  const result = results.find((each) => each.host === host);
  if (result) return resultText(result);
  const state = states.find((each) => each.host === host);
  return stateText(state ?? { host, status: 'running' }, reqid);
}

const unfetched = ({ results, states }: RunStatus): boolean =>
  [...results, ...states].some(({ fetchError }) => fetchError !== undefined);

export async function status(dispatcher: Dispatcher, reqid: string, options: AskOptions): Promise<ExitCode> {
  const { json = false } = options;
  const interruption = interruptible();
  return asking(options)
    .asyncAndThen((asked) => dispatcher.status(reqid, { ...asked, signal: interruption.signal }))
    .match(
      (found) => {
        if (json) say(JSON.stringify({ ok: 1, ...statusJson(found) }));
        else for (const host of found.hosts) process.stdout.write(hostText(found, host));
        return interruption.code() ?? (unfetched(found) ? exitCodes.failed : exitCodes.ok);
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
          onResult: (ended) => {
            process.stdout.write('status' in ended ? stateText(ended, reqid) : resultText(ended));
          },
        }),
      }),
    )
    .match(
      ({ outcome, status: found }) => {
        if (json) say(JSON.stringify({ ok: 1, outcome, ...statusJson(found) }));
        else for (const host of found.pending) process.stdout.write(hostText(found, host));
        return { fine: exitCodes.ok, failed: exitCodes.failed, 'timed-out': timedOut }[outcome];
      },
      (error) =>
        (error.code === 'aborted' ? interruption.interrupted(reqid) : undefined) ?? refuse(error, json),
    )
    .finally(() => interruption.end());
}

export async function cancel(
  dispatcher: Dispatcher,
  reqid: string,
  hosts: readonly string[],
  options: AskOptions,
): Promise<ExitCode> {
  const { json = false } = options;
  return asking(options)
    .asyncAndThen((asked) => dispatcher.cancel(reqid, { ...asked, ...(hosts.length > 0 && { hosts }) }))
    .match(
      ({ results }) => {
        if (json) say(JSON.stringify({ ok: 1, reqid, results: results.map(shownRtt) }));
        else process.stdout.write(asTable(results));
        const all = results.every(({ status: said }) => said === 'cancelling' || said === 'done');
        return all ? exitCodes.ok : exitCodes.failed;
      },
      (error) => refuse(error, json),
    );
}
