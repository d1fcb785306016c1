import type { Agent } from '../../sdk/agent/agent.js';
import {
  addCommands,
  type CommandOf,
  type ExitCode,
  oneOfWords,
  program,
  wholeNumber,
} from '../command-line.js';
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

/** What a command works on: where the agent is, and the agent, which is opened when it is first asked for. */
interface Opened {
  readonly place: PlaceOptions;
  readonly agent: () => Promise<Agent>;
}

/** Closes what a command has opened at the end, whatever happens. */
async function start(command: CommandOf<Opened>, work: (opened: Opened) => Promise<ExitCode>): Promise<void> {
  let opening: Promise<Agent> | undefined;
  const agent = () => {
    // Loaded only now: help and mistakes need none of it.
    opening ??= import('../composition.js').then(({ composeAgent }) =>
      composeAgent({ ...place(), daemon: command.daemon?.() ?? false }),
    );
    return opening;
  };
  try {
    process.exitCode = await work({ place: place(), agent });
  } finally {
    await (await opening)?.close();
  }
}

const port = wholeNumber(1, 65_535);
const seconds = wholeNumber(1, 604_800);
const checks = () => import('./commands/checks.js');

/** Every command, in the order of help. */
const commands: readonly CommandOf<Opened>[] = [
  {
    name: 'serve',
    group: 'Serve',
    description: 'serve dispatchers until told to stop; SIGHUP reloads',
    example: 'ctrl-exec-agent serve',
    options: (command) =>
      command.option(
        '--port <port>',
        'port to listen on, 0 lets the system choose (default: port)',
        wholeNumber(0, 65_535),
      ),
    daemon: () => true,
    run: async ({ agent }, options: { port?: number }) =>
      (await import('./commands/serve.js')).serve(await agent(), options),
  },
  {
    name: 'request-pairing',
    group: 'Pair',
    description: 'pair this host with a dispatcher that is in pairing mode',
    example: 'ctrl-exec-agent request-pairing --dispatcher control.example.com',
    options: (command) =>
      command
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
        .option(
          '--trust-on-first-use',
          'believe whoever answers: only where nobody can be between the two hosts',
        )
        .option('--background', 'show the code, then wait in the background; see pairing-status')
        .option('--timeout <seconds>', 'how long to wait (default: 600)', seconds)
        .option('--replace', 'give up an identity under another CA')
        .option('--new-key', 'make a new key')
        .option('--allow-v1', 'pair with a legacy dispatcher, too; with --ca-sha256 or --trust-on-first-use'),
    run: async ({ agent }, options: RequestPairingOptions) =>
      (await import('./commands/request-pairing.js')).requestPairing(await agent(), options),
  },
  {
    name: 'import-state',
    group: 'Pair',
    description:
      'take over the identity of an older installation, so that it need not pair again; nothing of it is changed',
    example: 'ctrl-exec-agent import-state /etc/ctrl-exec-agent.old --dry-run',
    takes: [['<dir>', 'its configuration directory, or one directory with everything']],
    options: (command) =>
      command
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
        .option('--json', 'print JSON'),
    run: async ({ agent }, directory: string, options: ImportStateOptions) =>
      (await import('./commands/import-state.js')).importState(await agent(), directory, options),
  },
  {
    name: 'pairing-status',
    group: 'Pair',
    description: 'whether this host is paired',
    example: 'ctrl-exec-agent pairing-status',
    options: (command) =>
      command
        .option('--json', 'print JSON')
        .option('--wait <seconds>', 'wait for a pairing in the background to end', seconds),
    run: async ({ agent }, options: PairingStatusOptions) =>
      (await checks()).pairingStatus(await agent(), options),
  },
  {
    name: 'trust',
    group: 'Pair',
    description: 'the dispatcher serials that this host trusts; or change one of them',
    example: 'ctrl-exec-agent trust',
    options: (command) =>
      command
        .option('--keep <serial>', 'make it your own: it stays when the serial that brought it is revoked')
        .option('--unsigned <serial>', 'accept it without a signature again: it is a legacy dispatcher again')
        .option('--json', 'print JSON'),
    run: async ({ agent }, options: TrustCommandOptions) =>
      (await import('./commands/trust.js')).trust(await agent(), options),
  },
  {
    name: 'self-check',
    group: 'Check',
    description: 'check configuration, allowlist and certificates',
    example: 'ctrl-exec-agent self-check',
    options: (command) => command.option('--json', 'print JSON'),
    run: async ({ agent }, options: { json?: boolean }) => (await checks()).selfCheck(await agent(), options),
  },
  {
    name: 'self-ping',
    alias: 'ping-self',
    group: 'Check',
    description: 'a real TLS round trip to the agent that serves on this host',
    example: 'ctrl-exec-agent self-ping',
    options: (command) =>
      command
        .option('--port <port>', 'port of the agent (default: port)', port)
        .option('--json', 'print JSON'),
    run: async ({ agent }, options: { port?: number; json?: boolean }) =>
      (await checks()).selfPing(await agent(), options),
  },
  {
    name: 'pull',
    group: 'Control plane',
    description: 'work for a certctl control plane: keys, certificates, deployments; needs no pairing',
    example: 'ctrl-exec-agent pull --server https://certctl.example.com --agent-id web-01 --once',
    options: (command) =>
      command
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
        .option(
          '--ca-bundle <path>',
          'CAs that vouch for the control plane (also CERTCTL_SERVER_CA_BUNDLE_PATH)',
        )
        .option(
          '--insecure-skip-verify',
          'believe whoever answers (also CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY)',
        )
        .option('--once', 'one heartbeat, polls until no job is left, one scan, then exit'),
    run: async (opened, options: PullCommandOptions) =>
      (await import('./commands/pull.js')).pull(opened.place, options),
  },
];

addCommands(cli, commands, start);
