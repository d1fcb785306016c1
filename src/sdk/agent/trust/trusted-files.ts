import { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { believe, type JudgedPath } from '../../../domain/core/file-trust.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import { judge, judgeBelow } from '../../core/trusted-files.js';
import type { AgentContext } from '../context.js';

type Files = Pick<AgentContext, 'files' | 'keyStore'>;

/**
 * What there is against the files by which an agent decides, but for its scripts: each of them is judged for itself.
 * @param jobs whether each job that is kept is looked at, too: there may be thousands
 */
export function judgeFiles(
  { files, keyStore }: Files,
  settings: AgentSettings,
  jobs = false,
): ResultAsync<readonly JudgedPath[], CtrlExecError<'file_failed'>> {
  const { asyncRunsDir, authHook, file, scriptsConf, stateDir } = settings;
  return ResultAsync.combine([
    judge(files, [
      file,
      /* defence: allowlist-is-trusted */ scriptsConf,
      .../* defence: identity-files-are-trusted */ keyStore(settings).paths(),
      ...(authHook === undefined ? [] : [authHook]),
    ]),
    // The record of requests, and those of runs.
    /* defence: agent-state-is-trusted */ judgeBelow(files, stateDir, 2),
    judgeBelow(files, asyncRunsDir, jobs ? 2 : 1),
  ]).map((judged) => judged.flat());
}

/** Ok: warnings, one line each. Err: one of these files must not be used. */
export const trustFiles = (
  context: Files,
  settings: AgentSettings,
  jobs = false,
): ResultAsync<readonly string[], CtrlExecError<'file_failed'>> =>
  judgeFiles(context, settings, jobs).andThen((judged) => believe(judged, settings.fileTrust));
