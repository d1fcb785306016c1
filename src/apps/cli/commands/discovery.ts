import type { DiscoveredHost } from '../../../sdk/dispatcher/discovery.js';
import type { Dispatcher } from '../../../sdk/dispatcher.js';
import { type ExitCode, exitCodes, say } from '../../command-line.js';
import { refuse } from '../failure.js';
import { type AskOptions, asking } from '../options.js';

export function discovery(
  dispatcher: Dispatcher,
  hosts: readonly string[],
  options: AskOptions,
): Promise<ExitCode> {
  return dispatcher.discover({ hosts, ...asking(options) }).match(
    ({ reqid, hosts: discovered }) => {
      if (options.json)
        say(
          JSON.stringify({
            ok: 1,
            reqid,
            hosts: Object.fromEntries(discovered.map((host) => [host.host, asJson(host)])),
          }),
        );
      else if (discovered.length === 0) say('no agents are registered');
      else process.stdout.write(discovered.map(asText).join(''));
      return discovered.every(({ status }) => status === 'ok') ? exitCodes.ok : exitCodes.failed;
    },
    (error) => refuse(error, options.json ?? false),
  );
}

const asJson = ({ reportedHostname, ...host }: DiscoveredHost & { reportedHostname?: string }) => ({
  ...host,
  rtt: `${host.rtt}ms`,
  ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
});

function asText(host: DiscoveredHost): string {
  if (host.status === 'error') return `==> ${host.host}  [FAIL  ${host.rtt}ms]\n    ERROR: ${host.error}\n`;
  const name = host.reportedHostname === undefined ? host.host : `${host.host} (${host.reportedHostname})`;
  const tags = Object.entries(host.tags).map(([key, value]) => `${key}=${value}`);
  const scripts = host.scripts.map(
    ({ name: script, path, executable }) =>
      `    ${script}  ${path}${executable ? '' : '  (not executable)'}\n`,
  );
  return [
    `==> ${name}  [OK  ${host.rtt}ms  version:${host.version}]\n`,
    ...(tags.length > 0 ? [`    tags: ${tags.join(', ')}\n`] : []),
    ...(scripts.length > 0 ? scripts : ['    no scripts\n']),
  ].join('');
}
