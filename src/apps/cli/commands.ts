import { Option } from 'commander';
import { hostStates } from '../../domain/runs/host-result.js';
import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import { type CommandOf, oneOfWords, wholeNumber } from '../command-line.js';
import type { EditAgentOptions } from './commands/agents.js';
import type { GovernedOptions } from './commands/lifecycle.js';
import type { PairingModeCommand } from './commands/pairing-mode.js';
import type { ApproveOptions, ListRequestsOptions } from './commands/requests.js';
import type { RunOptions } from './commands/run.js';
import type { RetryOptions, RunsOptions } from './commands/runs.js';
import type { ImportStateOptions, JoinTokenOptions } from './commands/setup.js';
import type { AskOptions, TargetOptions } from './options.js';
import { governed, json, port, reached, seconds, tagged } from './options-of-commands.js';
import type { Printing } from './printing.js';

// Loaded when a command is called: help and mistakes need none of it.
const agents = () => import('./commands/agents.js');
const async = () => import('./commands/async.js');
const lifecycle = () => import('./commands/lifecycle.js');
const requests = () => import('./commands/requests.js');
const runs = () => import('./commands/runs.js');
const setup = () => import('./commands/setup.js');

type Forced = GovernedOptions & { readonly force?: boolean };

const setUp = 'Set up';
const pair = 'Pair';
const ofAgents = 'Agents';
const runScripts = 'Run scripts';
const keys = 'Certificates and keys';

const requestId = ['<id>', 'request id, or its first 8 digits or more'] as const;
const runId = ['<id>', 'the id of the run, or its first 8 digits or more'] as const;

/** Every command, in the order of help. @param scriptArgs what stands behind `--` */
export const commands = (scriptArgs: readonly string[]): readonly CommandOf<Dispatcher>[] => [
  {
    name: 'setup-ca',
    group: setUp,
    description: 'create the private CA and print its fingerprint',
    example: 'ctrl-exec setup-ca',
    options: json,
    prepares: true,
    run: async (dispatcher, options: Printing) => (await setup()).setupCa(dispatcher, options),
  },
  {
    name: 'setup-ctrl-exec',
    group: setUp,
    description: "create this dispatcher's identity",
    example: 'ctrl-exec setup-ctrl-exec',
    options: (command) =>
      json(
        command
          .option('--yes', 'replace an existing identity without asking')
          .option('--force', 'replace it although agents are registered'),
      ),
    prepares: true,
    run: async (dispatcher, options: Printing & { yes?: boolean; force?: boolean }) =>
      (await setup()).setupDispatcher(dispatcher, options),
  },
  {
    name: 'import-state',
    group: setUp,
    description: 'take over CA, identity and agents of an older installation; nothing of it is changed',
    example: 'ctrl-exec import-state /etc/ctrl-exec.old --dry-run',
    takes: [['<dir>', 'its configuration directory, or one directory with everything']],
    options: (command) =>
      json(
        command
          .option('--state <dir>', 'its state directory, where that is not beside it')
          .option('--dry-run', 'say what would be done, and write nothing'),
      ),
    prepares: true,
    run: async (dispatcher, directory: string, options: ImportStateOptions) =>
      (await setup()).importState(dispatcher, directory, options),
  },
  {
    name: 'ca-fingerprint',
    group: setUp,
    description: 'print the SHA-256 fingerprint of the CA',
    example: 'ctrl-exec ca-fingerprint',
    options: json,
    run: async (dispatcher, options: Printing) => (await setup()).caFingerprint(dispatcher, options),
  },
  {
    name: 'join-token',
    group: pair,
    description: 'print a token with which one host may pair once, without a person; list tokens, revoke one',
    example: 'ctrl-exec join-token --host web-01 --ttl 1h',
    usage: '--host <name> [--ttl <time>] | list | revoke <id>',
    options: (command) =>
      json(
        command
          .option('--host <name>', 'the name that the host will ask for')
          .option('--ttl <time>', 'how long it holds, like 90s, 15m, 2h', '15m'),
      ),
    run: async (dispatcher, options: JoinTokenOptions) => (await setup()).joinToken(dispatcher, options),
    below: [
      {
        name: 'list',
        group: 'Commands',
        description: 'the tokens that were issued, and whether they were used; never the tokens themselves',
        example: 'ctrl-exec join-token list',
        options: json,
        run: async (dispatcher, options: Printing) => (await setup()).listJoinTokens(dispatcher, options),
      },
      {
        name: 'revoke',
        group: 'Commands',
        description: 'let nobody pair with a token any more',
        example: 'ctrl-exec join-token revoke 3f9c2a11',
        takes: [['<id>', 'its id, or the first 8 digits or more; or the token']],
        options: json,
        run: async (dispatcher, id: string, options: Printing) =>
          (await setup()).revokeJoinToken(dispatcher, id, options),
      },
    ],
  },
  {
    name: 'pairing-mode',
    group: pair,
    description: 'open the pairing port; on a terminal, decide on each request',
    example: 'ctrl-exec pairing-mode --timeout 600',
    options: (command) =>
      command
        .option(
          '--port <port>',
          'port to listen on, 0 lets the system choose (default: pairing_port)',
          wholeNumber(0, 65_535),
        )
        .option('--timeout <seconds>', 'close after this time', seconds)
        .option(
          '--allow-v1',
          'serve legacy agents, too, whose code can be forged (default: allow_legacy_pairing)',
        ),
    daemon: () => !process.stdin.isTTY,
    run: async (dispatcher, options: PairingModeCommand) =>
      (await import('./commands/pairing-mode.js')).pairingMode(dispatcher, options),
  },
  {
    name: 'list-requests',
    group: pair,
    description: 'show pairing requests that wait',
    example: 'ctrl-exec list-requests',
    options: (command) =>
      json(command.option('--given-up', 'those as well that were given up and hold a place')),
    run: async (dispatcher, options: ListRequestsOptions) =>
      (await requests()).listRequests(dispatcher, options),
  },
  {
    name: 'approve',
    group: pair,
    description: 'approve a pairing request whose code was compared',
    example: 'ctrl-exec approve 3f9c2a11 --code 123456',
    takes: [requestId],
    options: (command) =>
      json(
        command
          .option(
            '--code <code>',
            'what the agent shows, or its last six digits; a different one refuses the request',
          )
          .option('--name <name>', 'name in the registry (default: the host name that the agent gave)')
          .option('--replace', 'give a registered name this new key')
          .option('--lookup-by <what>', 'how to find the agent: hostname or ip', oneOfWords('hostname', 'ip'))
          .option('--agent-port <port>', 'port of the agent', port)
          .option('--ip <address>', 'address in the registry (default: where the request came from)'),
      ),
    run: async (dispatcher, id: string, options: ApproveOptions) =>
      (await requests()).approve(dispatcher, id, options),
  },
  {
    name: 'deny',
    group: pair,
    description: 'deny a pairing request',
    example: 'ctrl-exec deny 3f9c2a11',
    takes: [requestId],
    options: json,
    run: async (dispatcher, id: string, options: Printing) =>
      (await requests()).deny(dispatcher, id, options),
  },
  {
    name: 'list-agents',
    group: ofAgents,
    description: 'show the registry',
    example: 'ctrl-exec list-agents --tags env=prod',
    options: (command) => json(command).option('--tags <tags>', 'only agents with these tags, k=v,…'),
    run: async (dispatcher, options: Printing & { tags?: string }) =>
      (await agents()).listAgents(dispatcher, options),
  },
  {
    name: 'edit-agent',
    group: ofAgents,
    description: 'change where an agent is reached, or its name',
    example: 'ctrl-exec edit-agent web-01 --rename web-02',
    takes: [['<name>']],
    options: (command) =>
      json(
        command
          .option('--rename <name>', 'the new name in the registry')
          .option('--hostname <host>', 'host name to dial')
          .option('--ip <address>', 'address to dial')
          .option('--agent-port <port>', 'port of the agent', port)
          .option(
            '--lookup-by <what>',
            'which of the two is dialled: hostname or ip',
            oneOfWords('hostname', 'ip'),
          )
          .option('--pin', 'pin the key that answers there, where none is pinned yet')
          .option('--legacy', 'it is a legacy agent (again): forget that it has signed answers'),
      ),
    run: async (dispatcher, name: string, options: EditAgentOptions) =>
      (await agents()).editAgent(dispatcher, name, options),
  },
  {
    name: 'unpair',
    group: ofAgents,
    description: 'forget an agent',
    example: 'ctrl-exec unpair web-01',
    takes: [['<name>']],
    options: json,
    run: async (dispatcher, name: string, options: Printing) =>
      (await agents()).unpair(dispatcher, name, options),
  },
  {
    name: 'ping',
    group: ofAgents,
    description: 'mutual TLS round trip, certificate expiry, version',
    example: 'ctrl-exec ping web-01 web-02',
    takes: [['[hosts...]']],
    options: tagged,
    run: async (dispatcher, hosts: string[], options: TargetOptions) =>
      (await import('./commands/ping.js')).ping(dispatcher, hosts, options),
  },
  {
    name: 'run',
    group: runScripts,
    description: 'run a script on hosts: run HOST… SCRIPT [-- ARG…]',
    example: 'ctrl-exec run web-01 web-02 deploy -- v3 --dry-run',
    usage: '[options] <host…> <script> [-- <arg…>]',
    takes: [['[words...]', 'hosts, then the script']],
    options: (command) =>
      tagged(command)
        .option('--script <script>', 'the script; then all words are hosts')
        .option('--timeout <seconds>', 'the agents end the script after this time', seconds)
        .option('--async', 'do not wait: the agents run it by themselves; see status, wait, cancel')
        .addOption(
          new Option(
            '--follow',
            'show output as it comes, each line with its host; with --json one event a line',
          ).conflicts('async'),
        ),
    run: async (dispatcher, words: string[], options: RunOptions) =>
      (await import('./commands/run.js')).run(dispatcher, words, scriptArgs, options),
  },
  {
    name: 'runs',
    group: runScripts,
    description: 'runs that are recorded, the latest first',
    example: 'ctrl-exec runs --host web-01 --outcome failed',
    options: (command) =>
      json(
        command
          .option('--host <host>', 'on this host')
          .option('--script <script>', 'of this script')
          .option('--user <name>', 'of this user')
          .option(
            '--outcome <outcome>',
            'only runs of which a host is in this state',
            oneOfWords(...hostStates),
          )
          .option('--limit <number>', 'so many at most, up to 200 (default: 50)', wholeNumber(1, 200)),
      ),
    run: async (dispatcher, options: RunsOptions) => (await runs()).listRuns(dispatcher, options),
  },
  {
    name: 'retry',
    group: runScripts,
    description: 'run the script of a run once more, with its arguments, on the hosts where it failed',
    example: 'ctrl-exec retry eab1731a',
    takes: [runId],
    options: (command) =>
      reached(command)
        .option('--timeout <seconds>', 'the agents end the script after this time', seconds)
        .option('--async', 'do not wait: the agents run it by themselves; see status, wait, cancel'),
    run: async (dispatcher, id: string, options: RetryOptions) =>
      (await runs()).retry(dispatcher, id, options),
  },
  {
    name: 'status',
    group: runScripts,
    description: 'how a run stands, async or not; asks the agents whose end is not known',
    example: 'ctrl-exec status eab1731a',
    takes: [runId],
    options: reached,
    run: async (dispatcher, id: string, options: AskOptions) =>
      (await async()).status(dispatcher, id, options),
  },
  {
    name: 'wait',
    group: runScripts,
    description: 'wait for the end of a run; exit 0 all fine, 1 some failed, 2 timed out',
    example: 'ctrl-exec wait eab1731a --timeout 60',
    takes: [runId],
    options: (command) =>
      reached(command).option(
        '--timeout <seconds>',
        'give up after this time; the run goes on',
        wholeNumber(0, 31_536_000),
      ),
    run: async (dispatcher, id: string, options: AskOptions & { timeout?: number }) =>
      (await async()).wait(dispatcher, id, options),
  },
  {
    name: 'cancel',
    group: runScripts,
    description: 'stop a run, also one of another terminal: SIGTERM, 5 s later SIGKILL',
    example: 'ctrl-exec cancel eab1731a web-01',
    takes: [runId, ['[hosts...]', 'some of its hosts (default: all)']],
    options: reached,
    run: async (dispatcher, id: string, hosts: string[], options: AskOptions) =>
      (await async()).cancel(dispatcher, id, hosts, options),
  },
  {
    name: 'discovery',
    group: ofAgents,
    description: 'scripts, tags and versions of agents; refreshes the cached tags',
    example: 'ctrl-exec discovery',
    takes: [['[hosts...]', 'default: every registered agent']],
    options: tagged,
    run: async (dispatcher, hosts: string[], options: TargetOptions) =>
      (await import('./commands/discovery.js')).discovery(dispatcher, hosts, options),
  },
  {
    name: 'list-locks',
    group: runScripts,
    description: 'show what runs, or may, and so cannot be started again',
    example: 'ctrl-exec list-locks',
    options: json,
    run: async (dispatcher, options: Printing) => (await agents()).listLocks(dispatcher, options),
  },
  {
    name: 'release-lock',
    group: runScripts,
    description: 'give up a lock that nobody else settles, so that the script can be run there again',
    example: 'ctrl-exec release-lock web-01 backup',
    takes: [['<host>'], ['<script>']],
    options: json,
    run: async (dispatcher, host: string, script: string, options: Printing) =>
      (await agents()).releaseLock(dispatcher, host, script, options),
  },
  {
    name: 'rotate-cert',
    group: keys,
    description: "replace this dispatcher's key and certificate; agents are told first",
    example: 'ctrl-exec rotate-cert',
    options: (command) =>
      governed(command)
        .option('--force', 'switch although agents that answer refused the next certificate')
        .option(
          '--compromised',
          'its key was stolen: switch at once, revoke every other certificate of this dispatcher, and tell every agent',
        ),
    run: async (dispatcher, options: Forced & { compromised?: boolean }) =>
      (await lifecycle()).rotateCert(dispatcher, options),
  },
  {
    name: 'rotate-ca',
    group: keys,
    description: 'replace the CA without visiting an agent; maintain goes on with it',
    example: 'ctrl-exec rotate-ca',
    options: (command) =>
      governed(command).option('--force', 'go on although legacy agents will have to be paired again'),
    run: async (dispatcher, options: Forced) => (await lifecycle()).rotateCa(dispatcher, options),
  },
  {
    name: 'serial-status',
    group: keys,
    description: "this dispatcher's serials, and how each agent stands to them",
    example: 'ctrl-exec serial-status',
    options: json,
    run: async (dispatcher, options: Printing) => (await lifecycle()).serialStatus(dispatcher, options),
  },
  {
    name: 'maintain',
    group: keys,
    description:
      'one maintenance pass: renew, rotate when due, retire, tell agents what they missed; for a timer',
    example: 'ctrl-exec maintain',
    options: json,
    run: async (dispatcher, options: Printing) => (await lifecycle()).maintain(dispatcher, options),
  },
  {
    name: 'revoke',
    group: keys,
    description: 'revoke the certificates of an agent, or one by its serial, everywhere, and ban their keys',
    example: 'ctrl-exec revoke web-01',
    takes: [['<name-or-serial>']],
    options: governed,
    run: async (dispatcher, nameOrSerial: string, options: GovernedOptions) =>
      (await lifecycle()).revoke(dispatcher, nameOrSerial, options),
  },
  {
    name: 'unban',
    group: keys,
    description: 'let a key that was revoked be paired again; without a key, list those that are banned',
    example: 'ctrl-exec unban',
    takes: [['[key]']],
    options: governed,
    run: async (dispatcher, key: string | undefined, options: GovernedOptions) =>
      (await lifecycle()).unban(dispatcher, key, options),
  },
  {
    name: 'readmit',
    group: keys,
    description: 'renew an agent whose certificate has expired; its key must be the one that was paired',
    example: 'ctrl-exec readmit web-01',
    takes: [['<name>']],
    options: governed,
    run: async (dispatcher, name: string, options: GovernedOptions) =>
      (await lifecycle()).readmit(dispatcher, name, options),
  },
];
