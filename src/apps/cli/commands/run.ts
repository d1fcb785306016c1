import { printable } from '../../../domain/core/names.js';
import { type HostResult, mayBeLearnt } from '../../../domain/runs/host-result.js';
import { mayGoOn } from '../../../domain/runs/progress.js';
import { allSucceeded } from '../../../domain/runs/summary.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../../sdk/dispatcher/fleet/ask.js';
import type { RunEvent } from '../../../sdk/dispatcher/runs/follow.js';
import type { Run } from '../../../sdk/dispatcher/runs/run.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { runEventJson } from '../../json/events.js';
import { resultJson } from '../../json/hosts.js';
import { refuseRun } from '../failure.js';
import { followedOutput } from '../followed-output.js';
import { interruptible } from '../interrupt.js';
import { asking, type Ordered, type TargetOptions, targets } from '../options.js';
import { withProgress } from '../progress.js';
import { headText, showResult } from '../result-text.js';
import { warnOfPending } from '../revocations-pending.js';
import { submit } from './async.js';

export type RunOptions = TargetOptions & {
  readonly script?: string;
  readonly async?: boolean;
  readonly follow?: boolean;
  readonly timeout?: number;
};

/** A word too many is a script's argument that lost its `--` as often as a slip. */
const positional = { onUnknown: 'refuse' } as const;

type Interruption = ReturnType<typeof interruptible>;

export async function run(
  dispatcher: Dispatcher,
  words: readonly string[],
  args: readonly string[],
  options: RunOptions,
): Promise<ExitCode> {
  const { json = false, timeout } = options;
  const script = options.script ?? words.at(-1);
  const named = options.script === undefined ? words.slice(0, -1) : words;
  if (script === undefined || (named.length === 0 && options.tags === undefined)) {
    const [only] = words;
    if (only !== undefined) complain(`${printable(only)} alone can be a host or a script: both are needed`);
    complain('usage: ctrl-exec run HOST… SCRIPT [-- ARG…]');
    return exitCodes.usage;
  }
  const interruption = interruptible();
  const how = options.async ? submit : options.follow ? follow : plain;
  return asking(options)
    .asyncAndThen((asked) =>
      targets(dispatcher, named, options.tags).map((hosts) => ({
        asked,
        ordered: { hosts, script, args, ...(timeout !== undefined && { timeout }) },
      })),
    )
    .match(
      ({ asked, ordered }) =>
        how(
          dispatcher,
          ordered,
          { ...asked, ...(options.script === undefined && positional), signal: interruption.signal },
          json,
          interruption,
        ),
      (error) => refuseRun(error, json),
    )
    .finally(() => interruption.end());
}

function plain(
  dispatcher: Dispatcher,
  ordered: Ordered,
  asked: Asking,
  json: boolean,
  interruption: Interruption,
): Promise<ExitCode> {
  return withProgress(ordered.hosts.length, json, (done) =>
    dispatcher.run({
      ...ordered,
      ...asked,
      onResult: ({ host, state, rtt }) => done(host, state !== 'succeeded', rtt),
    }),
  ).match(
    (ran) => shown(ran, json, interruption),
    (error) => refuseRun(error, json),
  );
}

/** Prints what became of a run. */
export function shown(ran: Run, json: boolean, interruption: Interruption): ExitCode {
  const { reqid, results } = ran;
  if (json) say(JSON.stringify({ ok: 1, reqid, results: results.map(resultJson) }));
  else for (const result of results) showResult(result);
  return ended(ran, interruption);
}

/** Prints each event of a run as one line of JSON, as the API sends it; a script is slowed to what is read. */
async function followAsJson(
  dispatcher: Dispatcher,
  ordered: Ordered,
  asked: Asking,
  interruption: Interruption,
): Promise<ExitCode> {
  const eventsOf = runEventJson(resultJson);
  const print = (event: RunEvent) =>
    written(
      eventsOf(event)
        .map(([name, data]) => `${JSON.stringify({ event: name, ...data })}\n`)
        .join(''),
    );
  return dispatcher
    .run({
      ...ordered,
      ...asked,
      onBegin: (reqid) => void print({ kind: 'begin', reqid }),
      onOutput: (piece) => print({ kind: 'output', ...piece }),
      detachSignal: readerGone(),
      onResult: (result) => void print({ kind: 'result', result }),
    })
    .match(
      async (ran) => {
        await print({ kind: 'end', run: ran });
        return ended(ran, interruption);
      },
      async (error) => refuseRun(error, true, 'error'),
    );
}

/** Shows output as it comes, each line with its host, and of each host at its end how it ended. */
function follow(
  dispatcher: Dispatcher,
  ordered: Ordered,
  asked: Asking,
  json: boolean,
  interruption: Interruption,
): Promise<ExitCode> {
  if (json) return followAsJson(dispatcher, ordered, asked, interruption);
  const output = followedOutput();
  const encoder = new TextEncoder();
  const wholly = ({ host, stdout, stderr, stdoutBytes, stderrBytes }: HostResult) =>
    output.take({ host, stream: 'stdout', bytes: stdoutBytes ?? encoder.encode(stdout) }) +
    output.take({ host, stream: 'stderr', bytes: stderrBytes ?? encoder.encode(stderr) });
  return dispatcher
    .run({
      ...ordered,
      ...asked,
      onBegin: (reqid) => complain(`Following run ${reqid}`),
      onOutput: (piece) => written(output.take(piece)),
      detachSignal: readerGone(),
      onResult: (result) => {
        const { host, reqid } = result;
        const wasShown = output.wasShown(host);
        // A host that does not stream.
        const late = wasShown ? '' : wholly(result);
        const unverified = `    UNVERIFIED: the output of ${host} above was never authenticated`;
        let doubt = '';
        if (wasShown && mayGoOn(result)) doubt = `${unverified}\n`;
        // Its agent was asked for the end, because the stream had none.
        else if (wasShown && !output.isAllOf(host, result))
          doubt = `${unverified}: "ctrl-exec status ${reqid}" shows what is\n`;
        process.stdout.write(late + output.end(host) + headText(result) + doubt);
      },
    })
    .match(
      (ran) => ended(ran, interruption),
      (error) => refuseRun(error, json),
    );
}

/** Aborted when nobody reads standard output any more. */
function readerGone(): AbortSignal {
  const gone = new AbortController();
  process.stdout.once('error', () => gone.abort());
  return gone.signal;
}

/** Resolves when it was taken, or nobody takes it any more. */
const written = (text: string): Promise<void> =>
  new Promise((resolve) => {
    if (text === '') resolve();
    else process.stdout.write(text, () => resolve());
  });

function ended({ reqid, results, warnings }: Run, interruption: Interruption): ExitCode {
  for (const warning of warnings) complain(`warning: not recorded: ${warning}`);
  warnOfPending(results);
  const open = results.filter(mayGoOn);
  const code = interruption.interrupted(reqid, open.length > 0);
  if (code !== undefined) return code;
  const asked = open.filter(mayBeLearnt).map(({ host }) => host);
  if (asked.length > 0)
    complain(
      `No end is known of ${asked.join(', ')}, where the script may go on: "ctrl-exec status ${reqid}" asks again.`,
    );
  for (const result of open.filter((each) => !mayBeLearnt(each)))
    complain(
      `No end is known of ${result.host}, whose agent has no record of the run: the script may have run, or go on. See on the host; "ctrl-exec release-lock ${result.host} ${result.script}" frees its lock.`,
    );
  return allSucceeded(results) ? exitCodes.ok : exitCodes.failed;
}
