import type { Agent } from '../../../sdk/agent/agent.js';
import { type ExitCode, exitCodes, reportStart, say, untilStopped } from '../../command-line.js';
import { prepareDaemon } from '../../defaults.js';

/** Serves until SIGTERM or SIGINT; then what runs is finished, or at the second one ended. SIGHUP reloads and never ends the process. */
export async function serve(agent: Agent, options: { port?: number }): Promise<ExitCode> {
  prepareDaemon();
  // From the first moment on: a reload that comes before there is anything to reload is remembered.
  let reload = () => {
    early = true;
  };
  let early = false;
  const onHangUp = () => reload();
  process.on('SIGHUP', onHangUp);
  const started = await agent.serve(options);
  if (started.isErr()) {
    process.off('SIGHUP', onHangUp);
    return reportStart(started.error);
  }
  const serving = started.value;
  // The outcome of a reload is an event; there is nobody else to tell.
  reload = () => void serving.reload();
  if (early) reload();
  say(`Serving on ${serving.bind}:${serving.port}`);
  await untilStopped();
  const closing = serving.close();
  // Whoever says it twice does not want to wait for what runs.
  void untilStopped(closing).then(() => serving.close(0));
  await closing;
  process.off('SIGHUP', onHangUp);
  return exitCodes.ok;
}
