import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { PingResult } from '../../../sdk/dispatcher/fleet/ping.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { pingJson } from '../../json/hosts.js';
import { refuse } from '../failure.js';
import { asking, type TargetOptions, targets } from '../options.js';
import { withProgress } from '../progress.js';
import { warnOfPending } from '../revocations-pending.js';
import { table } from '../table.js';

export function ping(
  dispatcher: Dispatcher,
  named: readonly string[],
  options: TargetOptions,
): Promise<ExitCode> {
  const { json = false } = options;
  if (named.length === 0 && options.tags === undefined) {
    complain('usage: ctrl-exec ping HOST…');
    return Promise.resolve(exitCodes.usage);
  }
  return asking(options)
    .asyncAndThen((asked) =>
      targets(dispatcher, named, options.tags).andThen((hosts) =>
        withProgress(hosts.length, json, (done) =>
          dispatcher.ping({
            hosts,
            ...asked,
            onUnknown: 'refuse',
            onResult: ({ host, status, rtt }) => done(host, status !== 'ok', rtt),
          }),
        ),
      ),
    )
    .match(
      ({ reqid, results }) => {
        if (json) say(JSON.stringify({ ok: 1, reqid, results: results.map(pingJson) }));
        else process.stdout.write(asTable(results));
        warnOfPending(results);
        return results.every(({ status }) => status === 'ok') ? exitCodes.ok : exitCodes.failed;
      },
      (error) => refuse(error, json),
    );
}

const asTable = (results: readonly PingResult[]): string =>
  table(
    ['HOST', 'STATUS', 'RTT', 'EXPIRY', 'VERSION', ...(results.some(wrongWith) ? ['ERROR'] : [])],
    results.map((result) =>
      failed(result)
        ? [result.host, 'error', `${result.rtt}ms`, '-', '-', result.error]
        : [named(result), 'ok', `${result.rtt}ms`, result.expiry, result.version, wrongWith(result)],
    ),
  );

/** Why a host gave no answer, or what is wrong on one that did; empty for nothing. */
const wrongWith = (result: PingResult): string =>
  failed(result) ? result.error : (result.problems ?? []).join('; ');

type Failed = Extract<PingResult, { readonly status: 'error' }>;

const failed = (result: PingResult): result is Failed => result.status !== 'ok';

const named = ({ host, reportedHostname }: { host: string; reportedHostname?: string }): string =>
  reportedHostname === undefined ? host : `${host} (${reportedHostname})`;
