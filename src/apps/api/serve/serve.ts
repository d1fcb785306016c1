import { errorMessage, errorStack } from '../../../domain/core/thrown.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';
import { complain, type ExitCode, exitCodes, reportStart, untilStopped } from '../../command-line.js';
import { prepareDaemon } from '../../defaults.js';
import { type ApiServerParts, startApi } from '../api.js';
import { addressText, type ListenOptions, type ListenPlace } from './places.js';

/** One line before anything listens: which home, who decides, and where. */
function announce(
  { file, home, stateDir, authHook, apiCert }: DispatcherSettings,
  places: readonly ListenPlace[],
) {
  const where = places.map((place) => addressText(place, apiCert !== undefined)).join(' and ');
  complain(
    `Serving the dispatcher of ${home} (configuration ${file}, state ${stateDir}, auth hook ${authHook ?? 'none'}) on ${where}`,
  );
}

/**
 * Serves until SIGTERM or SIGINT; then what is under way is finished, or at the second one aborted. SIGHUP reloads and never ends
 * the process.
 */
export async function serve(parts: ApiServerParts, options: ListenOptions): Promise<ExitCode> {
  prepareDaemon();
  const bug = (reason: unknown) =>
    parts.events.emit({
      action: 'internal-error',
      level: 'error',
      fields: { reason: errorStack(reason) ?? errorMessage(reason) },
    });
  process.on('unhandledRejection', bug);
  // From the first moment on: a reload that comes before there is anything to reload is remembered.
  let early = false;
  let reload = () => {
    early = true;
  };
  process.on('SIGHUP', () => reload());
  const stopped = untilStopped();
  const started = await startApi({ ...parts, starting: announce }, options);
  if (started.isErr()) return reportStart(started.error);
  const api = started.value;
  // The outcome of a reload is an event; there is nobody else to tell.
  reload = () => void api.reload();
  if (early) reload();
  complain(`Listening on ${api.addresses.join(' and ')}`);
  let code: ExitCode = exitCodes.ok;
  const broken = new Promise<void>((resolve) => {
    process.on('uncaughtException', (error) => {
      bug(error);
      code = exitCodes.failed;
      resolve();
    });
  });
  await Promise.race([stopped, broken]);
  // Nobody knows what state it is in: what is under way is told so, and a service manager starts it anew.
  const closing = api.close(code === exitCodes.ok ? undefined : 0);
  // Whoever says it twice does not want to wait for what runs.
  void untilStopped(closing).then(() => api.close(0));
  await closing;
  return code;
}
