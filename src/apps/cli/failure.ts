import type { CtrlExecError } from '../../domain/core/errors.js';
import { complain, type ExitCode, exitCodes, report, say } from '../command-line.js';

/** What could not start at all: denied, locked, or not possible. @param event its name, where each line of JSON is an event */
export function refuse(error: CtrlExecError, json: boolean, event?: string): ExitCode {
  if (json) say(JSON.stringify({ ...(event !== undefined && { event }), ...asJson(error) }));
  switch (error.code) {
    case 'denied':
      complain(`Denied: ${error.reason}`);
      return exitCodes.failed;
    case 'locked':
      for (const { host, script, runId } of error.conflicts)
        complain(`Locked: already running: ${host}:${script} (run ${runId})`);
      return exitCodes.failed;
    case 'target_unknown':
      complain(`${error.message}; nothing was sent`);
      return exitCodes.usage;
    default:
      return report(error);
  }
}

/** The same of a run: a host too many may be an argument that lost its `--`. */
export function refuseRun(error: CtrlExecError, json: boolean, event?: string): ExitCode {
  const code = refuse(error, json, event);
  if (error.code === 'target_unknown')
    complain('An argument of the script stands behind "--": ctrl-exec run HOST… SCRIPT -- ARG…');
  return code;
}

function asJson(error: CtrlExecError) {
  switch (error.code) {
    case 'denied':
      return { ok: 0, error: error.reason, ...(error.hookCode !== undefined && { code: error.hookCode }) };
    case 'locked':
      return {
        ok: 0,
        error: 'locked',
        code: 4,
        conflicts: [...new Set(error.conflicts.map(({ host, script }) => `${host}:${script}`))],
      };
    default:
      return { ok: 0, error: error.message };
  }
}
