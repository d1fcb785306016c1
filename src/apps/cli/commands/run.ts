import type { HostResult } from '../../../domain/run-record.js';
import type { Dispatcher } from '../../../sdk/dispatcher.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { refuse } from '../failure.js';
import { asking, type TargetOptions, targets } from '../options.js';
import { green, red, withProgress } from '../progress.js';

export type RunOptions = TargetOptions & { readonly script?: string };

export async function run(
  dispatcher: Dispatcher,
  words: readonly string[],
  args: readonly string[],
  options: RunOptions,
): Promise<ExitCode> {
  const { json = false } = options;
  const script = options.script ?? words.at(-1);
  const named = options.script === undefined ? words.slice(0, -1) : words;
  if (script === undefined || (named.length === 0 && options.tags === undefined)) {
    complain('usage: ctrl-exec run HOST… SCRIPT [-- ARG…]');
    return exitCodes.usage;
  }
  // Ctrl-C gives up waiting; what has come so far is shown, what was started goes on.
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  return asking(options)
    .asyncAndThen((asked) =>
      targets(dispatcher, named, options.tags).andThen((hosts) =>
        withProgress(hosts.length, json, (done) =>
          dispatcher.run({
            hosts,
            script,
            args,
            ...asked,
            signal: stop.signal,
            onResult: ({ host, exit, rtt }) => done(host, exit !== 0, rtt),
          }),
        ),
      ),
    )
    .match(
      ({ reqid, results, warnings }) => {
        for (const warning of warnings) complain(`warning: not recorded: ${warning}`);
        if (json) say(JSON.stringify({ ok: 1, reqid, results: results.map(asJson) }));
        else for (const result of results) process.stdout.write(asText(result));
        return results.every(({ exit }) => exit === 0) ? exitCodes.ok : exitCodes.failed;
      },
      (error) => refuse(error, json),
    )
    .finally(() => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    });
}

const asJson = ({ reportedHostname, ...result }: HostResult) => ({
  ...result,
  rtt: `${result.rtt}ms`,
  ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
});

/** Read by scripts of legacy installations: the form is fixed. */
export function asText(result: HostResult): string {
  const { host, exit, stdout, stderr, rtt, reqid, error, truncated, reportedHostname } = result;
  const name = reportedHostname === undefined ? host : `${host} (${reportedHostname})`;
  const verdict = exit === 0 ? green('OK') : red('FAIL');
  const parts = [`==> ${name}  [${verdict}  exit:${exit}  ${rtt}ms  req:${reqid}]\n`];
  if (error !== undefined) parts.push(`    ERROR: ${error}\n`);
  for (const [stream, total] of Object.entries(truncated ?? {}))
    parts.push(`    TRUNCATED: ${stream}: head and tail of ${total} bytes\n`);
  parts.push(withNewline(stdout));
  if (stderr !== '') parts.push(`    STDERR: ${withNewline(stderr)}`);
  return parts.join('');
}

const withNewline = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);
