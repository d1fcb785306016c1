import type { Readable } from 'node:stream';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { type OutputCapture, outputCapture } from '../../domain/runs/output-capture.js';
import type {
  OutputStream,
  ProcessOutcome,
  ProcessRequest,
  ProcessRunner,
} from '../../ports/process-runner.js';
import { type Delivery, delivery } from './delivery.js';
import { type PipeIdentity, pipeHolders } from './pipe-holders.js';
import { groupTermination } from './process-group.js';
import { type StartedProgram, type StreamSource, startProgram } from './start.js';
import { later } from './timer.js';

export interface RunnerOptions {
  /** Milliseconds from SIGTERM to SIGKILL; 5,000. */
  readonly killAfter?: number;
  /** Milliseconds that output may take to end after the process has exited; 500. */
  readonly grace?: number;
  /** Milliseconds that a sink may take to answer; 30,000. */
  readonly sinkPatience?: number;
  readonly streams?: StreamSource;
  /** Where output is kept; in memory. */
  readonly capture?: (stream: OutputStream, limit: number) => OutputCapture;
  /** Called before the program is started. */
  readonly onPipes?: (pipes: readonly PipeIdentity[]) => void;
  /** Called when the program runs, before anything of it was read. */
  readonly onStart?: (started: StartedProgram) => void;
}

const spawnFailed = (path: string, reason: string): CtrlExecError<'spawn_failed'> =>
  failure('spawn_failed', `${path} could not be executed: ${reason}`, { path, reason });

/** Milliseconds that finding out who holds the pipes may take. */
const searchTime = 400;

interface Pump {
  /** Resolves when the stream is closed. */
  readonly ended: Promise<void>;
  /** Bytes so far. */
  taken(): number;
  /** What comes from now on is neither kept nor given to the sink. */
  stop(): void;
}

const pump = (
  readable: Readable | undefined,
  stream: OutputStream,
  capture: OutputCapture,
  sink: Delivery,
): Pump => {
  if (readable === undefined) return { ended: Promise.resolve(), taken: () => 0, stop: () => undefined };
  let waiting: Promise<void> | undefined;
  let count = 0;
  const take = (chunk: Uint8Array): void => {
    capture.add(chunk);
    count += chunk.length;
    const taken = sink.give(stream, chunk);
    if (taken === undefined) return;
    waiting = taken;
    readable.pause();
    void taken.then(() => {
      if (waiting === taken) readable.resume();
    });
  };
  readable.on('data', take);
  return {
    ended: new Promise((resolve) => {
      readable.once('close', resolve);
    }),
    taken: () => count,
    stop: () => {
      waiting = undefined;
      readable.off('data', take);
      readable.resume();
    },
  };
};

const soon = (milliseconds: number): { over: Promise<'over'>; cancel: () => void } => {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<'over'>((resolve) => {
    // Once round the loop, so that what came while this process was busy is read before it is judged to be late.
    timer = setTimeout(() => setImmediate(resolve, 'over'), milliseconds);
  });
  return { over, cancel: () => clearTimeout(timer) };
};

/** More bytes than a pipe holds that nobody with privileges has enlarged, and this process has read of it. */
const mostInPipe = 2 * 1024 * 1024;

/**
 * Whether the streams ended within `grace` milliseconds. Those in which the sink was waited for do not count, unless more came
 * since the exit than the program can have left in its pipes: then it is others who write, and may do so for ever.
 */
const drained = async (grace: number, pumps: readonly Pump[], sink: Delivery): Promise<boolean> => {
  const end = Promise.all(pumps.map(({ ended }) => ended)).then(() => 'ended' as const);
  const atExit = pumps.map(({ taken }) => taken());
  const areOthers = (): boolean =>
    pumps.some(({ taken }, index) => taken() - (atExit[index] ?? 0) > mostInPipe);
  const patience = performance.now() + grace;
  for (let left = grace; left > 0; ) {
    await sink.idle();
    if (performance.now() > patience && areOthers()) return false;
    const began = performance.now();
    const { over, cancel } = soon(left);
    const first = await Promise.race([end, sink.busy().then(() => 'busy' as const), over]);
    cancel();
    if (first === 'ended') return true;
    if (first === 'over') return false;
    left -= performance.now() - began;
  }
  return false;
};

const execute = async (
  request: ProcessRequest,
  options: RunnerOptions,
): Promise<Result<ProcessOutcome, CtrlExecError<'spawn_failed'>>> => {
  const { killAfter = 5_000, grace = 500, sinkPatience = 30_000 } = options;
  const { capture = (_, limit) => outputCapture(limit) } = options;
  const { path, args, env, signal, maxOutput } = request;
  const aborted = (): boolean => signal?.aborted === true;
  if (aborted()) return err(spawnFailed(path, 'cancelled before it was started'));
  const program = { path, args, env, input: request.stdin, inputTimeout: request.stdinTimeout };
  const started = await startProgram(
    { ...program, output: 'capture', onPipes: options.onPipes },
    options.streams,
  );
  if (started.isErr()) return err(spawnFailed(path, started.error));

  const { pid, outputs, pipes, exit, letGo } = started.value;
  options.onStart?.(started.value);
  const sink = delivery(request.onOutput, sinkPatience);
  const [out, error] = [capture('stdout', maxOutput), capture('stderr', maxOutput)];
  const pumps = [pump(outputs[0], 'stdout', out, sink), pump(outputs[1], 'stderr', error, sink)];
  const termination = groupTermination(pid, killAfter);
  let stopped: ProcessOutcome['stopped'];
  const stop = (why: 'timeout' | 'cancelled') => (): void => {
    stopped ??= why;
    termination.begin();
  };
  const [onTimeout, onAbort] = [stop('timeout'), stop('cancelled')];
  const cancelTimeout = request.timeout > 0 ? later(request.timeout, onTimeout) : () => undefined;
  signal?.addEventListener('abort', onAbort);
  if (aborted()) onAbort();

  const end = await exit;
  cancelTimeout();
  signal?.removeEventListener('abort', onAbort);
  termination.leaderEnded();
  const cancelPatience = later(sinkPatience, sink.end);
  const complete = await drained(grace, pumps, sink);
  // First: what is kept and counted must be what the sink is given.
  for (const each of pumps) each.stop();
  await sink.idle();
  cancelPatience();
  sink.end();
  const pipesHeldBy = complete ? undefined : await pipeHolders(pipes, pid, searchTime);
  letGo();
  return ok({ end, stopped, stdout: out.result(), stderr: error.result(), pipesHeldBy });
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
 * opened; where the system has no /dev/shm or mkfifo(1) they are sockets, and only then `stdinTimeout` matters, and who
 * holds them cannot be seen. A pipe that a daemonised grandchild still holds when the answer is given is read on, to nowhere,
 * by a `cat` that outlives this process; sockets, and pipes where that cannot be started, by this process as long as it lives.
 *
 * When the time is up, or `signal` aborts, the whole group gets SIGTERM and `killAfter` later SIGKILL, also when its
 * leader is gone by then; what has moved to another session (`setsid`) is out of reach.
 */
export const childProcessRunner = (options: RunnerOptions = {}): ProcessRunner => ({
  run: (request) => new ResultAsync(execute(request, options)),
});
