import { type Command, Option } from 'commander';
import { hostStates } from '../../domain/runs/host-result.js';
import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import { complain, type ExitCode, inGroups, oneOfWords, program, wholeNumber } from '../command-line.js';
import { version } from '../version.js';
import type { EditAgentOptions } from './commands/agents.js';
import type { GovernedOptions } from './commands/lifecycle.js';
import type { ApproveOptions, ListRequestsOptions } from './commands/requests.js';
import type { RunOptions } from './commands/run.js';
import type { RetryOptions, RunsOptions } from './commands/runs.js';
import type { ImportStateOptions, JoinTokenOptions } from './commands/setup.js';
import type { AskOptions, TargetOptions } from './options.js';
import type { Printing } from './printing.js';

/** Options of every command. */
interface Place {
  readonly home?: string;
  readonly config?: string;
}

/** Commands that a home needs before the others do anything. */
const preparing: ReadonlySet<string> = new Set(['setup-ca', 'setup-ctrl-exec', 'import-state']);
let called = '';

const [ownArgs, scriptArgs] = splitArguments(process.argv.slice(2));
/** The program; nothing is done before it is executed. */
export const cli = program(
  'ctrl-exec',
  'Run allowlisted scripts on remote hosts over mutual TLS, without SSH.',
  version,
)
  .option('--home <dir>', 'keep everything under this directory (also CTRL_EXEC_HOME)')
  .option('--config <path>', 'configuration file')
  .usage('[--home <dir>] [--config <path>] <command>')
  .hook('preAction', (_program, command) => {
    called = command.name();
    if (command.name() !== 'run' && scriptArgs.length > 0)
      command.error('error: only run takes arguments behind --', { exitCode: 64, code: 'excess' });
  });

/** What stands behind `--` belongs to the script, whatever it looks like. */
function splitArguments(all: readonly string[]): [readonly string[], readonly string[]] {
  const at = all.indexOf('--');
  return at < 0 ? [all, []] : [all.slice(0, at), all.slice(at + 1)];
}

/** Opens the dispatcher for one command (loaded only now: help and mistakes need none of it), says its warnings, and closes it at the end whatever happens. */
async function withDispatcher(
  work: (dispatcher: Dispatcher) => Promise<ExitCode>,
  daemon = false,
): Promise<void> {
  const place = cli.opts<Place>();
  const home = place.home ?? process.env['CTRL_EXEC_HOME'];
  const [{ composeDispatcher }, { placeOf }] = await Promise.all([
    import('../composition.js'),
    import('../place.js'),
  ]);
  const dispatcher = composeDispatcher({ ...placeOf(home, place.config), daemon });
  try {
    const configured = await dispatcher.configuration();
    if (configured.isErr()) {
      complain(configured.error.message);
      process.exitCode = 1;
      return;
    }
    for (const warning of configured.value.warnings) complain(`warning: ${warning}`);
    const ca = preparing.has(called) ? undefined : await dispatcher.ca();
    if (ca?.isErr() && ca.error.code === 'ca_missing') {
      complain(`nothing is set up here: ${ca.error.message}`);
      process.exitCode = 1;
      return;
    }
    process.exitCode = await work(dispatcher);
  } finally {
    await dispatcher.close();
  }
}

const port = wholeNumber(1, 65_535);
const governed = (command: ReturnType<typeof cli.command>) =>
  command
    .option('--json', 'print JSON')
    .option('--username <name>', 'who asks, for the auth hook (default: $USER)')
    .option(
      '--token <token>',
      'for the auth hook (shows in process lists: prefer --token-file or $ENVEXEC_TOKEN)',
    )
    .option('--token-file <path>', 'read the token from the first line of a file');

const reached = (command: ReturnType<typeof cli.command>) =>
  governed(command).option('--port <port>', 'port of the agents, instead of the stored one', port);

const tagged = (command: ReturnType<typeof cli.command>) =>
  reached(command).option('--tags <tags>', 'the agents with these tags instead of named hosts, k=v,…');

cli
  .command('setup-ca')
  .description('create the private CA and print its fingerprint')
  .option('--json', 'print JSON')
  .action((options: Printing) =>
    withDispatcher(async (dispatcher) => (await import('./commands/setup.js')).setupCa(dispatcher, options)),
  );

cli
  .command('setup-ctrl-exec')
  .description("create this dispatcher's identity")
  .option('--yes', 'replace an existing identity without asking')
  .option('--force', 'replace it although agents are registered')
  .option('--json', 'print JSON')
  .action((options: Printing & { yes?: boolean; force?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).setupDispatcher(dispatcher, options),
    ),
  );

cli
  .command('import-state')
  .description('take over CA, identity and agents of an older installation; nothing of it is changed')
  .argument('<dir>', 'its configuration directory, or one directory with everything')
  .option('--state <dir>', 'its state directory, where that is not beside it')
  .option('--dry-run', 'say what would be done, and write nothing')
  .option('--json', 'print JSON')
  .action((directory: string, options: ImportStateOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).importState(dispatcher, directory, options),
    ),
  );

cli
  .command('ca-fingerprint')
  .description('print the SHA-256 fingerprint of the CA')
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).caFingerprint(dispatcher, options),
    ),
  );

const joinToken = cli
  .command('join-token')
  .description('print a token with which one host may pair once, without a person; list tokens, revoke one')
  .usage('--host <name> [--ttl <time>] | list | revoke <id>')
  .option('--host <name>', 'the name that the host will ask for')
  .option('--ttl <time>', 'how long it holds, like 90s, 15m, 2h', '15m')
  .option('--json', 'print JSON')
  .action((options: JoinTokenOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).joinToken(dispatcher, options),
    ),
  );

joinToken
  .command('list')
  .description('the tokens that were issued, and whether they were used; never the tokens themselves')
  .option('--json', 'print JSON')
  .action((_options: Printing, command: Command) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).listJoinTokens(dispatcher, command.optsWithGlobals()),
    ),
  );

joinToken
  .command('revoke')
  .description('let nobody pair with a token any more')
  .argument('<id>', 'its id, or the first 8 digits or more; or the token')
  .option('--json', 'print JSON')
  .action((id: string, _options: Printing, command: Command) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).revokeJoinToken(dispatcher, id, command.optsWithGlobals()),
    ),
  );

cli
  .command('pairing-mode')
  .description('open the pairing port; on a terminal, decide on each request')
  .option(
    '--port <port>',
    'port to listen on, 0 lets the system choose (default: pairing_port)',
    wholeNumber(0, 65_535),
  )
  .option('--timeout <seconds>', 'close after this time', wholeNumber(1, 604_800))
  .option('--allow-v1', 'serve legacy agents, too, whose code can be forged (default: allow_legacy_pairing)')
  .action((options: { port?: number; timeout?: number; allowV1?: boolean }) =>
    withDispatcher(
      async (dispatcher) => (await import('./commands/pairing-mode.js')).pairingMode(dispatcher, options),
      !process.stdin.isTTY,
    ),
  );

cli
  .command('list-requests')
  .description('show pairing requests that wait')
  .option('--given-up', 'those as well that were given up and hold a place')
  .option('--json', 'print JSON')
  .action((options: ListRequestsOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/requests.js')).listRequests(dispatcher, options),
    ),
  );

cli
  .command('approve')
  .description('approve a pairing request whose code was compared')
  .argument('<id>', 'request id, or its first 8 digits or more')
  .option(
    '--code <code>',
    'what the agent shows, or its last six digits; a different one refuses the request',
  )
  .option('--name <name>', 'name in the registry (default: the host name that the agent gave)')
  .option('--replace', 'give a registered name this new key')
  .option('--lookup-by <what>', 'how to find the agent: hostname or ip', oneOfWords('hostname', 'ip'))
  .option('--agent-port <port>', 'port of the agent', port)
  .option('--ip <address>', 'address in the registry (default: where the request came from)')
  .option('--json', 'print JSON')
  .action((id: string, options: ApproveOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/requests.js')).approve(dispatcher, id, options),
    ),
  );

cli
  .command('deny')
  .description('deny a pairing request')
  .argument('<id>', 'request id, or its first 8 digits or more')
  .option('--json', 'print JSON')
  .action((id: string, options: Printing) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/requests.js')).deny(dispatcher, id, options),
    ),
  );

cli
  .command('list-agents')
  .description('show the registry')
  .option('--json', 'print JSON')
  .option('--tags <tags>', 'only agents with these tags, k=v,…')
  .action((options: { json?: boolean; tags?: string }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/agents.js')).listAgents(dispatcher, options),
    ),
  );

cli
  .command('edit-agent')
  .description('change where an agent is reached, or its name')
  .argument('<name>')
  .option('--rename <name>', 'the new name in the registry')
  .option('--hostname <host>', 'host name to dial')
  .option('--ip <address>', 'address to dial')
  .option('--agent-port <port>', 'port of the agent', port)
  .option('--lookup-by <what>', 'which of the two is dialled: hostname or ip', oneOfWords('hostname', 'ip'))
  .option('--pin', 'pin the key that answers there, where none is pinned yet')
  .option('--legacy', 'it is a legacy agent (again): forget that it has signed answers')
  .option('--json', 'print JSON')
  .action((name: string, options: EditAgentOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/agents.js')).editAgent(dispatcher, name, options),
    ),
  );

cli
  .command('unpair')
  .description('forget an agent')
  .argument('<name>')
  .option('--json', 'print JSON')
  .action((name: string, options: Printing) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/agents.js')).unpair(dispatcher, name, options),
    ),
  );

tagged(cli.command('ping'))
  .description('mutual TLS round trip, certificate expiry, version')
  .argument('[hosts...]')
  .action((hosts: string[], options: TargetOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/ping.js')).ping(dispatcher, hosts, options),
    ),
  );

tagged(cli.command('run'))
  .description('run a script on hosts: run HOST… SCRIPT [-- ARG…]')
  .usage('[options] <host…> <script> [-- <arg…>]')
  .argument('[words...]', 'hosts, then the script')
  .option('--script <script>', 'the script; then all words are hosts')
  .option('--timeout <seconds>', 'the agents end the script after this time', wholeNumber(1, 604_800))
  .option('--async', 'do not wait: the agents run it by themselves; see status, wait, cancel')
  .addOption(
    new Option(
      '--follow',
      'show output as it comes, each line with its host; with --json one event a line',
    ).conflicts('async'),
  )
  .action((words: string[], options: RunOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/run.js')).run(dispatcher, words, scriptArgs, options),
    ),
  );

cli
  .command('runs')
  .description('runs that are recorded, the latest first')
  .option('--host <host>', 'on this host')
  .option('--script <script>', 'of this script')
  .option('--user <name>', 'of this user')
  .option('--outcome <outcome>', 'only runs of which a host is in this state', oneOfWords(...hostStates))
  .option('--limit <number>', 'so many at most, up to 200 (default: 50)', wholeNumber(1, 200))
  .option('--json', 'print JSON')
  .action((options: RunsOptions) =>
    withDispatcher(async (dispatcher) => (await import('./commands/runs.js')).listRuns(dispatcher, options)),
  );

reached(cli.command('retry'))
  .description('run the script of a run once more, with its arguments, on the hosts where it failed')
  .argument('<id>', 'the id of the run, or its first 8 digits or more')
  .option('--timeout <seconds>', 'the agents end the script after this time', wholeNumber(1, 604_800))
  .option('--async', 'do not wait: the agents run it by themselves; see status, wait, cancel')
  .action((id: string, options: RetryOptions) =>
    withDispatcher(async (dispatcher) => (await import('./commands/runs.js')).retry(dispatcher, id, options)),
  );

reached(cli.command('status'))
  .description('how a run stands, async or not; asks the agents whose end is not known')
  .argument('<id>', 'the id of the run, or its first 8 digits or more')
  .action((id: string, options: AskOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/async.js')).status(dispatcher, id, options),
    ),
  );

reached(cli.command('wait'))
  .description('wait for the end of a run; exit 0 all fine, 1 some failed, 2 timed out')
  .argument('<id>', 'the id of the run, or its first 8 digits or more')
  .option('--timeout <seconds>', 'give up after this time; the run goes on', wholeNumber(0, 31_536_000))
  .action((id: string, options: AskOptions & { timeout?: number }) =>
    withDispatcher(async (dispatcher) => (await import('./commands/async.js')).wait(dispatcher, id, options)),
  );

reached(cli.command('cancel'))
  .description('stop a run, also one of another terminal: SIGTERM, 5 s later SIGKILL')
  .argument('<id>', 'the id of the run, or its first 8 digits or more')
  .argument('[hosts...]', 'some of its hosts (default: all)')
  .action((id: string, hosts: string[], options: AskOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/async.js')).cancel(dispatcher, id, hosts, options),
    ),
  );

tagged(cli.command('discovery'))
  .description('scripts, tags and versions of agents; refreshes the cached tags')
  .argument('[hosts...]', 'default: every registered agent')
  .action((hosts: string[], options: TargetOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/discovery.js')).discovery(dispatcher, hosts, options),
    ),
  );

cli
  .command('list-locks')
  .description('show what runs, or may, and so cannot be started again')
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/agents.js')).listLocks(dispatcher, options),
    ),
  );

cli
  .command('release-lock')
  .description('give up a lock that nobody else settles, so that the script can be run there again')
  .argument('<host>')
  .argument('<script>')
  .option('--json', 'print JSON')
  .action((host: string, script: string, options: Printing) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/agents.js')).releaseLock(dispatcher, host, script, options),
    ),
  );

governed(cli.command('rotate-cert'))
  .description("replace this dispatcher's key and certificate; agents are told first")
  .option('--force', 'switch although agents that answer refused the next certificate')
  .option(
    '--compromised',
    'its key was stolen: switch at once, revoke every other certificate of this dispatcher, and tell every agent',
  )
  .action((options: GovernedOptions & { force?: boolean; compromised?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).rotateCert(dispatcher, options),
    ),
  );

governed(cli.command('rotate-ca'))
  .description('replace the CA without visiting an agent; maintain goes on with it')
  .option('--force', 'go on although legacy agents will have to be paired again')
  .action((options: GovernedOptions & { force?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).rotateCa(dispatcher, options),
    ),
  );

cli
  .command('serial-status')
  .description("this dispatcher's serials, and how each agent stands to them")
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).serialStatus(dispatcher, options),
    ),
  );

cli
  .command('maintain')
  .description(
    'one maintenance pass: renew, rotate when due, retire, tell agents what they missed; for a timer',
  )
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).maintain(dispatcher, options),
    ),
  );

governed(cli.command('revoke'))
  .description('revoke the certificates of an agent, or one by its serial, everywhere, and ban their keys')
  .argument('<name-or-serial>')
  .action((nameOrSerial: string, options: GovernedOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).revoke(dispatcher, nameOrSerial, options),
    ),
  );

governed(cli.command('unban'))
  .description('let a key that was revoked be paired again; without a key, list those that are banned')
  .argument('[key]')
  .action((key: string | undefined, options: GovernedOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).unban(dispatcher, key, options),
    ),
  );

governed(cli.command('readmit'))
  .description('renew an agent whose certificate has expired; its key must be the one that was paired')
  .argument('<name>')
  .action((name: string, options: GovernedOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/lifecycle.js')).readmit(dispatcher, name, options),
    ),
  );

/** What of the command line is for this program. */
export const args: readonly string[] = ownArgs;

inGroups(cli, {
  'Set up': {
    'setup-ca': 'ctrl-exec setup-ca',
    'setup-ctrl-exec': 'ctrl-exec setup-ctrl-exec',
    'ca-fingerprint': 'ctrl-exec ca-fingerprint',
    'import-state': 'ctrl-exec import-state /etc/ctrl-exec.old --dry-run',
  },
  Pair: {
    'pairing-mode': 'ctrl-exec pairing-mode --timeout 600',
    'list-requests': 'ctrl-exec list-requests',
    approve: 'ctrl-exec approve 3f9c2a11 --code 123456',
    deny: 'ctrl-exec deny 3f9c2a11',
    'join-token': 'ctrl-exec join-token --host web-01 --ttl 1h',
  },
  Agents: {
    'list-agents': 'ctrl-exec list-agents --tags env=prod',
    'edit-agent': 'ctrl-exec edit-agent web-01 --rename web-02',
    unpair: 'ctrl-exec unpair web-01',
    ping: 'ctrl-exec ping web-01 web-02',
    discovery: 'ctrl-exec discovery',
  },
  'Run scripts': {
    run: 'ctrl-exec run web-01 web-02 deploy -- v3 --dry-run',
    runs: 'ctrl-exec runs --host web-01 --outcome failed',
    retry: 'ctrl-exec retry eab1731a',
    status: 'ctrl-exec status eab1731a',
    wait: 'ctrl-exec wait eab1731a --timeout 60',
    cancel: 'ctrl-exec cancel eab1731a web-01',
    'list-locks': 'ctrl-exec list-locks',
    'release-lock': 'ctrl-exec release-lock web-01 backup',
  },
  'Certificates and keys': {
    maintain: 'ctrl-exec maintain',
    'serial-status': 'ctrl-exec serial-status',
    'rotate-cert': 'ctrl-exec rotate-cert',
    'rotate-ca': 'ctrl-exec rotate-ca',
    readmit: 'ctrl-exec readmit web-01',
    revoke: 'ctrl-exec revoke web-01',
    unban: 'ctrl-exec unban',
  },
});
inGroups(joinToken, {
  Commands: {
    list: 'ctrl-exec join-token list',
    revoke: 'ctrl-exec join-token revoke 3f9c2a11',
  },
});
