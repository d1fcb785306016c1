import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import { addCommands, type CommandOf, complain, type ExitCode, exitCodes, program } from '../command-line.js';
import { version } from '../version.js';
import { commands } from './commands.js';

/** Options of every command. */
interface Place {
  readonly home?: string;
  readonly config?: string;
}

const [ownArgs, scriptArgs] = splitArguments(process.argv.slice(2));
/** What of the command line is for this program. */
export const args: readonly string[] = ownArgs;

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
    if (command.name() !== 'run' && scriptArgs.length > 0)
      command.error('error: only run takes arguments behind --', { exitCode: 64, code: 'excess' });
  });

/** What stands behind `--` belongs to the script, whatever it looks like. */
function splitArguments(all: readonly string[]): [readonly string[], readonly string[]] {
  const at = all.indexOf('--');
  return at < 0 ? [all, []] : [all.slice(0, at), all.slice(at + 1)];
}

/** Why a command cannot begin; undefined: it can. Says the warnings of the configuration. */
async function whyNot(
  dispatcher: Dispatcher,
  { prepares }: Pick<CommandOf<Dispatcher>, 'prepares'>,
): Promise<string | undefined> {
  const configured = await dispatcher.configuration();
  if (configured.isErr()) return configured.error.message;
  for (const warning of configured.value.warnings) complain(`warning: ${warning}`);
  const ca = prepares ? undefined : await dispatcher.ca();
  return ca?.isErr() && ca.error.code === 'ca_missing'
    ? `nothing is set up here: ${ca.error.message}`
    : undefined;
}

/** Opens the dispatcher for one command, and closes it at the end whatever happens. */
async function start(
  command: CommandOf<Dispatcher>,
  work: (dispatcher: Dispatcher) => Promise<ExitCode>,
): Promise<void> {
  const { home = process.env['CTRL_EXEC_HOME'], config } = cli.opts<Place>();
  const [{ composeDispatcher }, { placeOf }] = await Promise.all([
    import('../composition.js'),
    import('../place.js'),
  ]);
  const dispatcher = composeDispatcher({ ...placeOf(home, config), daemon: command.daemon?.() ?? false });
  try {
    const reason = await whyNot(dispatcher, command);
    if (reason !== undefined) complain(reason);
    process.exitCode = reason === undefined ? await work(dispatcher) : exitCodes.failed;
  } finally {
    await dispatcher.close();
  }
}

addCommands(cli, commands(scriptArgs), start);
