import type { CtrlExecError } from '../../domain/core/errors.js';
import { complain, type ExitCode, exitCodes, report, say } from '../command-line.js';

/** What could not start at all: denied, locked, or not possible. */
export function refuse(error: CtrlExecError, json: boolean): ExitCode {
  if (json) say(JSON.stringify(asJson(error)));
  switch (error.code) {
    case 'denied':
      complain(`Denied: ${error.reason}`);
      return exitCodes.failed;
    case 'locked':
      for (const conflict of error.conflicts) complain(`Locked: already running: ${conflict}`);
      return exitCodes.failed;
    default:
      return report(error);
  }
}

function asJson(error: CtrlExecError) {
  switch (error.code) {
    case 'denied':
      return { ok: 0, error: error.reason, ...(error.hookCode !== undefined && { code: error.hookCode }) };
    case 'locked':
      return { ok: 0, error: 'locked', code: 4, conflicts: error.conflicts };
    default:
      return { ok: 0, error: error.message };
  }
}
