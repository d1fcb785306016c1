import { printable } from '../../../domain/core/names.js';
import type { HostResult } from '../../../domain/runs/record.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../../sdk/dispatcher/fleet/ask.js';
import type { Run } from '../../../sdk/dispatcher/runs/run.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { refuseRun } from '../failure.js';
import { followedOutput } from '../followed-output.js';
import { interruptible } from '../interrupt.js';
import { mayGoOn } from '../may-have-run.js';
import { asking, type Ordered, type TargetOptions, targets } from '../options.js';
import { withProgress } from '../progress.js';
import { headText, resultJson, resultText } from '../result-text.js';
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
      onResult: ({ host, exit, rtt }) => done(host, exit !== 0, rtt),
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
  else for (const result of results) process.stdout.write(resultText(result));
  return ended(ran, interruption);
}

/** Shows output as it comes, each line with its host, and of each host at its end how it ended. */
function follow(
  dispatcher: Dispatcher,
  ordered: Ordered,
  asked: Asking,
  json: boolean,
  interruption: Interruption,
): Promise<ExitCode> {
  const output = followedOutput();
  const encoder = new TextEncoder();
  const wholly = ({ host, stdout, stderr }: HostResult) =>
    output.take({ host, stream: 'stdout', bytes: encoder.encode(stdout) }) +
    output.take({ host, stream: 'stderr', bytes: encoder.encode(stderr) });
  return dispatcher
    .run({
      ...ordered,
      ...asked,
      onBegin: (reqid) => complain(`Following run ${reqid}`),
      onOutput: (piece) => written(output.take(piece)),
      onResult: (result) => {
        const { host, unheard } = result;
        const wasShown = output.wasShown(host);
        // A host that does not stream.
        const late = wasShown ? '' : wholly(result);
        const doubt =
          wasShown && unheard ? `    UNVERIFIED: the output of ${host} above was never authenticated\n` : '';
        process.stdout.write(late + output.end(host) + headText(result) + doubt);
      },
    })
    .match(
      (ran) => ended(ran, interruption),
      (error) => refuseRun(error, json),
    );
}

/** Resolves when it was taken, or nobody takes it any more. */
const written = (text: string): Promise<void> =>
  new Promise((resolve) => {
    if (text === '') resolve();
    else process.stdout.write(text, () => resolve());
  });

function ended({ reqid, results, warnings }: Run, interruption: Interruption): ExitCode {
  for (const warning of warnings) complain(`warning: not recorded: ${warning}`);
  const open = mayGoOn(results);
  if (open.length > 0)
    complain(
      `No end was heard of ${open.join(', ')}, where the script may go on: "ctrl-exec status ${reqid}" asks again.`,
    );
  const all = results.every(({ exit }) => exit === 0);
  return interruption.interrupted(reqid, open.length > 0) ?? (all ? exitCodes.ok : exitCodes.failed);
}
