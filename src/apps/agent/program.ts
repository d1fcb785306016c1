import type { Agent } from '../../sdk/agent/agent.js';
import { type ExitCode, inGroups, oneOfWords, program, wholeNumber } from '../command-line.js';
import { type PlaceOptions, placeOf } from '../place.js';
import { version } from '../version.js';
import type { PairingStatusOptions } from './commands/checks.js';
import type { ImportStateOptions } from './commands/import-state.js';
import type { PullCommandOptions } from './commands/pull.js';
import type { RequestPairingOptions } from './commands/request-pairing.js';
import type { TrustCommandOptions } from './commands/trust.js';

interface Place {
  readonly home?: string | undefined;
  readonly config?: string | undefined;
}

/** The program; nothing is done before it is executed. */
export const cli = program(
  'ctrl-exec-agent',
  'The agent of ctrl-exec: runs allowlisted scripts for trusted dispatchers.',
  version,
)
  .option('--home <dir>', 'keep everything under this directory (also CTRL_EXEC_AGENT_HOME)')
  .option('--config <path>', 'configuration file')
  .usage('[--home <dir>] [--config <path>] <command>');

function place(): PlaceOptions {
  const { home = process.env['CTRL_EXEC_AGENT_HOME'], config } = cli.opts<Place>();
  return placeOf(home, config);
}

/** Opens the agent for one command (loaded only now: help and mistakes need none of it) and closes it at the end whatever happens. */
async function withAgent(work: (agent: Agent) => Promise<ExitCode>, daemon = false): Promise<void> {
  const { composeAgent } = await import('../composition.js');
  const agent = await composeAgent({ ...place(), daemon });
  try {
    process.exitCode = await work(agent);
  } finally {
    await agent.close();
  }
}

const port = wholeNumber(1, 65_535);

cli
  .command('serve')
  .description('serve dispatchers until told to stop; SIGHUP reloads')
  .option(
    '--port <port>',
    'port to listen on, 0 lets the system choose (default: port)',
    wholeNumber(0, 65_535),
  )
  .action((options: { port?: number }) =>
    withAgent(async (agent) => (await import('./commands/serve.js')).serve(agent, options), true),
  );

cli
  .command('request-pairing')
  .description('pair this host with a dispatcher that is in pairing mode')
  .option('--dispatcher <host>', 'the dispatcher')
  .option('--ctrl-exec <host>', 'the same, as legacy installations write it')
  .option('--port <port>', 'pairing port of the dispatcher (default: 7444)', port)
  .option(
    '--agent-port <port>',
    'port to register, 0 for one that is chosen now (default: the one that it served on last, else port)',
    wholeNumber(0, 65_535),
  )
  .option('--name <name>', 'name to ask for (default: the host name)')
  .option(
    '--lookup-by <what>',
    'how the dispatcher finds this host: hostname or ip',
    oneOfWords('hostname', 'ip'),
  )
  .option('--ca-sha256 <hex>', "the CA's fingerprint, instead of comparing codes")
  .option(
    '--join <token>',
    'a join token, or @PATH of the file that holds it (a token here shows in process lists)',
  )
  .option('--trust-on-first-use', 'believe whoever answers: only where nobody can be between the two hosts')
  .option('--background', 'show the code, then wait in the background; see pairing-status')
  .option('--timeout <seconds>', 'how long to wait (default: 600)', wholeNumber(1, 604_800))
  .option('--replace', 'give up an identity under another CA')
  .option('--new-key', 'make a new key')
  .option('--allow-v1', 'pair with a legacy dispatcher, too; with --ca-sha256 or --trust-on-first-use')
  .action((options: RequestPairingOptions) =>
    withAgent(async (agent) =>
      (await import('./commands/request-pairing.js')).requestPairing(agent, options),
    ),
  );

cli
  .command('import-state')
  .description(
    'take over the identity of an older installation, so that it need not pair again; nothing of it is changed',
  )
  .argument('<dir>', 'its configuration directory, or one directory with everything')
  .option('--state <dir>', 'its state directory, where that is not beside it')
  .option(
    '--dispatcher-serial <hex>',
    "serial of the dispatcher's certificate, where the report says that two may be meant",
  )
  .option(
    '--accept-legacy-dispatchers',
    'set accept_legacy_dispatchers: its dispatcher is of an older version',
  )
  .option('--dry-run', 'say what would be done, and write nothing')
  .option('--json', 'print JSON')
  .action((directory: string, options: ImportStateOptions) =>
    withAgent(async (agent) =>
      (await import('./commands/import-state.js')).importState(agent, directory, options),
    ),
  );

cli
  .command('pairing-status')
  .description('whether this host is paired')
  .option('--json', 'print JSON')
  .option('--wait <seconds>', 'wait for a pairing in the background to end', wholeNumber(1, 604_800))
  .action((options: PairingStatusOptions) =>
    withAgent(async (agent) => (await import('./commands/checks.js')).pairingStatus(agent, options)),
  );

cli
  .command('trust')
  .description('the dispatcher serials that this host trusts; or change one of them')
  .option('--keep <serial>', 'make it your own: it stays when the serial that brought it is revoked')
  .option('--unsigned <serial>', 'accept it without a signature again: it is a legacy dispatcher again')
  .option('--json', 'print JSON')
  .action((options: TrustCommandOptions) =>
    withAgent(async (agent) => (await import('./commands/trust.js')).trust(agent, options)),
  );

cli
  .command('self-check')
  .description('check configuration, allowlist and certificates')
  .option('--json', 'print JSON')
  .action((options: { json?: boolean }) =>
    withAgent(async (agent) => (await import('./commands/checks.js')).selfCheck(agent, options)),
  );

cli
  .command('self-ping')
  .alias('ping-self')
  .description('a real TLS round trip to the agent that serves on this host')
  .option('--port <port>', 'port of the agent (default: port)', port)
  .option('--json', 'print JSON')
  .action((options: { port?: number; json?: boolean }) =>
    withAgent(async (agent) => (await import('./commands/checks.js')).selfPing(agent, options)),
  );

cli
  .command('pull')
  .description('work for a certctl control plane: keys, certificates, deployments; needs no pairing')
  .option(
    '--server <url>',
    'the control plane, https only (also CERTCTL_SERVER_URL; default: https://localhost:8443)',
  )
  .option(
    '--api-key <key>',
    'its key for this agent (better CERTCTL_API_KEY: a key here shows in process lists)',
  )
  .option('--agent-id <id>', 'what the control plane calls this agent (also CERTCTL_AGENT_ID)')
  .option('--name <name>', 'name of this agent (also CERTCTL_AGENT_NAME; default: certctl-agent)')
  .option(
    '--key-dir <dir>',
    'where private keys are kept (also CERTCTL_KEY_DIR; default: /var/lib/certctl/keys)',
  )
  .option(
    '--discovery-dirs <dirs>',
    'where to look for certificates, separated by commas (also CERTCTL_DISCOVERY_DIRS)',
  )
  .option('--ca-bundle <path>', 'CAs that vouch for the control plane (also CERTCTL_SERVER_CA_BUNDLE_PATH)')
  .option('--insecure-skip-verify', 'believe whoever answers (also CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY)')
  .option('--once', 'one heartbeat, polls until no job is left, one scan, then exit')
  .action(async (options: PullCommandOptions) => {
    process.exitCode = await (await import('./commands/pull.js')).pull(place(), options);
  });

inGroups(cli, {
  Serve: {
    serve: 'ctrl-exec-agent serve',
  },
  Pair: {
    'request-pairing': 'ctrl-exec-agent request-pairing --dispatcher control.example.com',
    'pairing-status': 'ctrl-exec-agent pairing-status',
    trust: 'ctrl-exec-agent trust',
    'import-state': 'ctrl-exec-agent import-state /etc/ctrl-exec-agent.old --dry-run',
  },
  Check: {
    'self-check': 'ctrl-exec-agent self-check',
    'self-ping': 'ctrl-exec-agent self-ping',
  },
  'Control plane': {
    pull: 'ctrl-exec-agent pull --server https://certctl.example.com --agent-id web-01 --once',
  },
});
