import { base64 } from '../../../domain/core/bytes.js';
import { keptText } from '../../../domain/core/kept-text.js';
import { maxLeftBehind, type RunResult } from '../../../domain/protocol/run-messages.js';
import type { Job } from '../../../ports/jobs.js';
import type { CapturedStream, ProcessOutcome } from '../../../ports/process-runner.js';

type Output = Pick<ProcessOutcome, 'stdout' | 'stderr'>;

/** What the run of this agent says that a dispatcher has cancelled. */
export const cancelled = 'cancelled';

export const notExecuted = (error: string): RunResult => ({ exit: 126, error, stdout: '', stderr: '' });

/** Whether that is why a run ended, also where it did not heed it. */
export const isCancelled = (error: unknown): boolean =>
  typeof error === 'string' && (error === cancelled || error === `${cancelled}${goingOn}`);

const goingOn = ', but it goes on: an action cannot be killed';

/**
 * @param ended.timeout milliseconds; undefined: not known any more
 * @param ended.stopping the agent stops: that is what ended it, if anything did
 */
export function resultOf(
  outcome: ProcessOutcome,
  ended: { readonly timeout: number | undefined; readonly stopping: boolean },
): RunResult {
  const { pipesHeldBy } = outcome;
  return {
    ...describeEnd(outcome, ended),
    ...describeOutput(outcome),
    ...(pipesHeldBy && {
      leftBehind: {
        ...(pipesHeldBy.length > 0 && { count: pipesHeldBy.length }),
        pids: pipesHeldBy.slice(0, maxLeftBehind),
      },
    }),
  };
}

function describeEnd(
  { end, stopped, goesOn }: ProcessOutcome,
  { timeout, stopping }: { readonly timeout: number | undefined; readonly stopping: boolean },
): { exit: number; error?: string } {
  if (stopped === 'cancelled' && !stopping)
    return { exit: 126, error: `${cancelled}${goesOn ? goingOn : ''}` };
  if (end.kind === 'exited') return { exit: end.code };
  const limit = timeout === undefined ? 'it was given' : `${timeout / 1000} s`;
  const why =
    stopped === 'timeout' ? `: ran longer than ${limit}` : stopping ? ': the agent was stopped' : '';
  if (goesOn) return { exit: 126, error: `told to end${why}${goingOn}` };
  return { exit: 126, error: `killed by ${end.signal}${why}` };
}

function describeOutput({ stdout, stderr }: Output) {
  const cut = (stream: CapturedStream) => stream.total > stream.bytes.length;
  const truncated = {
    ...(cut(stdout) && { stdout: stdout.total }),
    ...(cut(stderr) && { stderr: stderr.total }),
  };
  const [out, error] = [keptText(stdout), keptText(stderr)];
  return {
    stdout: out.text,
    stderr: error.text,
    ...(out.exact && { stdoutBase64: base64(out.exact) }),
    ...(error.exact && { stderrBase64: base64(error.exact) }),
    ...(Object.keys(truncated).length > 0 && { truncated }),
  };
}

export type EndedJob = Exclude<Job, { readonly status: 'running' }>;

/** How an async run ended. */
export function resultOfJob(job: EndedJob): RunResult {
  if (job.status === 'lost') return { exit: -1, error: `lost: ${job.reason}`, ...describeOutput(job) };
  const { result, outputLost } = job;
  if ('notRun' in result)
    return notExecuted(
      job.status === 'cancelled' ? cancelled : `the script could not be executed: ${result.notRun}`,
    );
  const described = resultOf(result, { timeout: undefined, stopping: false });
  if (outputLost === undefined || described.error !== undefined) return described;
  const { exit, ...others } = described;
  return { exit, error: outputLost, ...others };
}
