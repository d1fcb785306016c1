import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { DiscoveredHost } from '../../../sdk/dispatcher/fleet/discovery.js';
import { type ExitCode, exitCodes, say } from '../../command-line.js';
import { discoveredJson } from '../../json/hosts.js';
import { refuse } from '../failure.js';
import { asking, type TargetOptions, targets } from '../options.js';
import { green, red, withProgress } from '../progress.js';
import { warnOfPending } from '../revocations-pending.js';

export function discovery(
  dispatcher: Dispatcher,
  named: readonly string[],
  options: TargetOptions,
): Promise<ExitCode> {
  const { json = false } = options;
  return asking(options)
    .asyncAndThen((asked) =>
      targets(dispatcher, named, options.tags, true).andThen((hosts) =>
        withProgress(hosts.length, json, (done) =>
          dispatcher.discover({
            hosts,
            ...asked,
            onUnknown: 'refuse',
            onResult: ({ host, status, rtt }) => done(host, status !== 'ok', rtt),
          }),
        ),
      ),
    )
    .match(
      ({ reqid, hosts }) => {
        if (json)
          say(
            JSON.stringify({
              ok: 1,
              reqid,
              hosts: Object.fromEntries(hosts.map((host) => [host.host, discoveredJson(host)])),
            }),
          );
        else if (hosts.length === 0) say('no agents are registered');
        else process.stdout.write(hosts.map(asText).join(''));
        warnOfPending(hosts);
        return hosts.every(({ status }) => status === 'ok') ? exitCodes.ok : exitCodes.failed;
      },
      (error) => refuse(error, json),
    );
}

function asText(host: DiscoveredHost): string {
  if (host.status === 'error')
    return `==> ${host.host}  [${red('FAIL')}  ${host.rtt}ms]\n    ERROR: ${host.error}\n`;
  const name = host.reportedHostname === undefined ? host.host : `${host.host} (${host.reportedHostname})`;
  const tags = Object.entries(host.tags).map(([key, value]) => `${key}=${value}`);
  const scripts = host.scripts.map(
    ({ name: script, path, executable }) =>
      `    ${script}  ${path}${executable ? '' : '  (not executable)'}\n`,
  );
  return [
    `==> ${name}  [${green('OK')}  ${host.rtt}ms  version:${host.version}]\n`,
    ...(tags.length > 0 ? [`    tags: ${tags.join(', ')}\n`] : []),
    ...(scripts.length > 0 ? scripts : ['    no scripts\n']),
  ].join('');
}
