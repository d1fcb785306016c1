import type { Agent } from '../../../sdk/agent.js';
import { complain, type ExitCode, exitCodes, say, untilStopped } from '../../command-line.js';
import { prepareDaemon } from '../../defaults.js';

/** Serves until SIGTERM or SIGINT; then what runs is finished. SIGHUP reloads and never ends the process. */
export async function serve(agent: Agent, options: { port?: number }): Promise<ExitCode> {
  prepareDaemon();
  const started = await agent.serve(options);
  if (started.isErr()) {
    complain(started.error.message);
    const { code } = started.error;
    const needsAPerson =
      code === 'config_invalid' || code === 'identity_missing' || code === 'certificate_invalid';
    return needsAPerson ? exitCodes.configuration : exitCodes.failed;
  }
  const serving = started.value;
  // The outcome of a reload is an event; there is nobody else to tell.
  const reload = () => void serving.reload();
  process.on('SIGHUP', reload);
  say(`Serving on ${serving.bind}:${serving.port}`);
  await untilStopped();
  await serving.close();
  process.off('SIGHUP', reload);
  return exitCodes.ok;
}
