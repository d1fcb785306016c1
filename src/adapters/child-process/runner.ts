import type { Readable } from 'node:stream';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import type {
  ProcessEnd,
  ProcessOutcome,
  ProcessRequest,
  ProcessRunner,
} from '../../ports/process-runner.js';
import { outputCapture } from './output-capture.js';
import { groupTermination } from './process-group.js';
import { type Exit, type StreamSource, startProgram } from './start.js';
import { later } from './timer.js';

interface RunnerOptions {
  /** Milliseconds from SIGTERM to SIGKILL; 5,000. */
  readonly killAfter?: number;
  /** Milliseconds that output may take to end after the process has exited; 500. */
  readonly grace?: number;
  readonly streams?: StreamSource;
}

const spawnFailed = (path: string, reason: string): CtrlExecError<'spawn_failed'> =>
  failure('spawn_failed', `${path} could not be executed: ${reason}`, { path, reason });

const captured = (stream: Readable | undefined, limit: number) => {
  const capture = outputCapture(limit);
  const ended = new Promise<void>((resolve) => {
    if (stream === undefined) return resolve();
    stream.on('data', (chunk: Uint8Array) => capture.add(chunk));
    stream.once('close', resolve);
  });
  return { capture, ended };
};

/** Resolves when `ended` does, after `grace` at the latest. */
const within = (grace: number, ended: Promise<unknown>): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, grace);
    void ended.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });

const endOf = (exit: Exit, timedOut: boolean): ProcessEnd =>
  exit.kind === 'exited' ? exit : { ...exit, timedOut };

const execute = async (
  request: ProcessRequest,
  { killAfter = 5_000, grace = 500, streams }: RunnerOptions,
): Promise<Result<ProcessOutcome, CtrlExecError<'spawn_failed'>>> => {
  const { path, args, env, signal, maxOutput } = request;
  const aborted = (): boolean => signal?.aborted === true;
  if (aborted()) return err(spawnFailed(path, 'cancelled before it was started'));
  const program = { path, args, env, input: request.stdin, inputTimeout: request.stdinTimeout };
  const started = await startProgram({ ...program, output: 'capture' }, streams);
  if (started.isErr()) return err(spawnFailed(path, started.error));

  const { pid, outputs, exit } = started.value;
  const [out, error] = [captured(outputs[0], maxOutput), captured(outputs[1], maxOutput)];
  const termination = groupTermination(pid, killAfter);
  let timedOut = false;
  const onTimeout = (): void => {
    timedOut = true;
    termination.begin();
  };
  const cancelTimeout = request.timeout > 0 ? later(request.timeout, onTimeout) : () => undefined;
  signal?.addEventListener('abort', termination.begin);
  if (aborted()) termination.begin();

  const ending = await exit;
  cancelTimeout();
  signal?.removeEventListener('abort', termination.begin);
  termination.leaderEnded();
  await within(grace, Promise.all([out.ended, error.ended]));
  for (const stream of outputs) stream.destroy();
  return ok({
    end: endOf(ending, timedOut),
    stdout: out.capture.result(),
    stderr: error.capture.result(),
  });
};

/**
 * Runs programs as child processes of this one.
 *
 * The umask is that of this process, which Node cannot set for a child alone: a daemon calls `prepareDaemon` at its start,
 * an embedding process that wants another umask for itself has it in its scripts too. Signal mask and dispositions are the
 * system's defaults (libuv resets them). A descriptor that this process was itself born with is replaced by /dev/null
 * in the child, where `prepareDaemon` did not close it.
 *
 * Standard input is a nameless file in memory, output are real pipes, so /dev/stdin, /dev/stdout and /dev/stderr can be
 * opened; where the system has no /dev/shm or mkfifo(1) they are sockets, and only then `stdinTimeout` matters. A pipe
 * that a daemonised grandchild still holds when the answer is given is closed on this side: what it writes later gets EPIPE.
 *
 * When the time is up, or `signal` aborts, the whole group gets SIGTERM and `killAfter` later SIGKILL, also when its
 * leader is gone by then; what has moved to another session (`setsid`) is out of reach.
 */
export const childProcessRunner = (options: RunnerOptions = {}): ProcessRunner => ({
  run: (request) => new ResultAsync(execute(request, options)),
});
