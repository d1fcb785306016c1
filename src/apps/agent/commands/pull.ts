import { setMaxListeners } from 'node:events';
import type { PullOptions } from '../../../domain/settings/pull.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { composePullAgent } from '../../composition.js';
import { prepareDaemon } from '../../defaults.js';
import type { PlaceOptions } from '../../place.js';

export interface PullCommandOptions extends PullOptions {
  readonly once?: boolean;
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Pulls until SIGTERM or SIGINT, or until the agent is retired: exit 0 then, so that no service manager starts it again. 78 where
 * the settings are wrong; with `--once` 1 where the heartbeat or the poll failed.
 */
export async function pull(place: PlaceOptions, options: PullCommandOptions): Promise<ExitCode> {
  prepareDaemon();
  // Also takes the key out of the process list, if it was given there.
  if (options.apiKey !== undefined) process.title = 'ctrl-exec-agent pull';
  const stop = new AbortController();
  // Every job listens to it.
  setMaxListeners(0, stop.signal);
  // From the first moment on, and until the end: a second signal does not cut off a deployment.
  const onSignal = () => stop.abort();
  for (const signal of signals) process.on(signal, onSignal);
  const { agent, close } = await composePullAgent(place, options);
  try {
    const outcome = await agent.run({
      once: options.once === true,
      signal: stop.signal,
      onStart: ({ server, agentId }) => say(`Pulling from ${server.origin}${server.basePath} as ${agentId}`),
    });
    return outcome.match(
      ({ reason, failures }) => {
        if (reason === 'retired') say('Retired by the control plane');
        return reason === 'once' && failures > 0 ? exitCodes.failed : exitCodes.ok;
      },
      (error) => {
        complain(error.message);
        return exitCodes.configuration;
      },
    );
  } finally {
    await close();
    for (const signal of signals) process.off(signal, onSignal);
  }
}
