import type { Dispatcher } from '../../sdk/dispatcher.js';
import { complain, type ExitCode, execute, program, wholeNumber } from '../command-line.js';
import { composeDispatcher } from '../composition.js';
import { standardErrorLog } from '../defaults.js';
import { version } from '../version.js';
import type { AskOptions } from './options.js';

/** Options of every command. */
interface Place {
  readonly home?: string;
  readonly config?: string;
}

const [args, scriptArgs] = splitArguments(process.argv.slice(2));
const cli = program(
  'ctrl-exec',
  'Run allowlisted scripts on remote hosts over mutual TLS, without SSH.',
  version,
)
  .option('--home <dir>', 'keep everything under this directory (also CTRL_EXEC_HOME)')
  .option('--config <path>', 'configuration file');

/** What stands behind `--` belongs to the script, whatever it looks like. */
function splitArguments(all: readonly string[]): [readonly string[], readonly string[]] {
  const at = all.indexOf('--');
  return at < 0 ? [all, []] : [all.slice(0, at), all.slice(at + 1)];
}

/** Opens the dispatcher for one command, says its warnings, and closes it at the end whatever happens. */
async function withDispatcher(
  work: (dispatcher: Dispatcher) => Promise<ExitCode>,
  log = false,
): Promise<void> {
  const place = cli.opts<Place>();
  const home = place.home ?? process.env['CTRL_EXEC_HOME'];
  const dispatcher = composeDispatcher({
    home: home === '' ? undefined : home,
    config: place.config,
    ...(log && { events: standardErrorLog() }),
  });
  try {
    const configured = await dispatcher.configuration();
    if (configured.isErr()) {
      complain(configured.error.message);
      process.exitCode = 1;
      return;
    }
    for (const warning of configured.value.warnings) complain(`warning: ${warning}`);
    process.exitCode = await work(dispatcher);
  } finally {
    await dispatcher.close();
  }
}

const port = wholeNumber(1, 65_535);
const asking = (command: ReturnType<typeof cli.command>) =>
  command
    .option('--json', 'print JSON')
    .option('--port <port>', 'port of the agents, instead of the stored one', port)
    .option('--username <name>', 'who asks, for the auth hook (default: $USER)')
    .option('--token <token>', 'for the auth hook (better: the environment variable ENVEXEC_TOKEN)');

cli
  .command('setup-ca')
  .description('create the private CA and print its fingerprint')
  .action(() =>
    withDispatcher(async (dispatcher) => (await import('./commands/setup.js')).setupCa(dispatcher)),
  );

cli
  .command('setup-ctrl-exec')
  .description("create this dispatcher's identity")
  .option('--yes', 'replace an existing identity without asking')
  .option('--force', 'replace it although agents are registered')
  .action((options: { yes?: boolean; force?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/setup.js')).setupDispatcher(dispatcher, options),
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

cli
  .command('pairing-mode')
  .description('open the pairing port; on a terminal, decide on each request')
  .option(
    '--port <port>',
    'port to listen on, 0 lets the system choose (default: pairing_port)',
    wholeNumber(0, 65_535),
  )
  .option('--timeout <seconds>', 'close after this time', wholeNumber(1, 604_800))
  .action((options: { port?: number; timeout?: number }) =>
    withDispatcher(
      async (dispatcher) => (await import('./commands/pairing-mode.js')).pairingMode(dispatcher, options),
      !process.stdin.isTTY,
    ),
  );

cli
  .command('list-requests')
  .description('show pairing requests that wait')
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/requests.js')).listRequests(dispatcher, options),
    ),
  );

cli
  .command('approve')
  .description('approve a pairing request whose code was compared')
  .argument('<id>', 'request id, or its first 8 digits or more')
  .option('--code <code>', 'the code as shown at the agent; a different one refuses the request')
  .option('--name <name>', 'name in the registry (default: the host name that the agent gave)')
  .option('--replace', 'give a registered name this new key')
  .action((id: string, options: { code?: string; name?: string; replace?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/requests.js')).approve(dispatcher, { id, ...options }),
    ),
  );

cli
  .command('deny')
  .description('deny a pairing request')
  .argument('<id>', 'request id, or its first 8 digits or more')
  .action((id: string) =>
    withDispatcher(async (dispatcher) => (await import('./commands/requests.js')).deny(dispatcher, id)),
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
  .command('unpair')
  .description('forget an agent')
  .argument('<name>')
  .action((name: string) =>
    withDispatcher(async (dispatcher) => (await import('./commands/agents.js')).unpair(dispatcher, name)),
  );

asking(cli.command('ping'))
  .description('mutual TLS round trip, certificate expiry, version')
  .argument('<hosts...>')
  .action((hosts: string[], options: AskOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/ping.js')).ping(dispatcher, hosts, options),
    ),
  );

asking(cli.command('run'))
  .description('run a script on hosts: run HOST… SCRIPT [-- ARG…]')
  .usage('[options] HOST… SCRIPT [-- ARG…]')
  .argument('<words...>', 'hosts, then the script')
  .option('--script <script>', 'the script; then all words are hosts')
  .option('--tags <tags>', 'run on the agents with these tags instead of naming hosts, k=v,…')
  .action((words: string[], options: AskOptions & { script?: string; tags?: string }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/run.js')).run(dispatcher, words, scriptArgs, options),
    ),
  );

asking(cli.command('discovery'))
  .description('scripts, tags and versions of agents; refreshes the cached tags')
  .argument('[hosts...]', 'default: every registered agent')
  .action((hosts: string[], options: AskOptions) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/discovery.js')).discovery(dispatcher, hosts, options),
    ),
  );

cli
  .command('list-locks')
  .description('show what runs now, and so cannot be started again')
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withDispatcher(async (dispatcher) =>
      (await import('./commands/agents.js')).listLocks(dispatcher, options),
    ),
  );

await execute(cli, args);
