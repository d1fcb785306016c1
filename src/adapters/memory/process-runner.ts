import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import type {
  CapturedStream,
  ProcessEnd,
  ProcessOutcome,
  ProcessRequest,
  ProcessRunner,
} from '../../ports/process-runner.js';

type MemoryProgram = (request: ProcessRequest) => Promise<ProcessOutcome> | ProcessOutcome;

const cut = (stream: CapturedStream, limit: number): CapturedStream => {
  if (stream.bytes.length <= limit) return stream;
  const head = Math.floor(limit / 2);
  const bytes = new Uint8Array(limit);
  bytes.set(stream.bytes.subarray(0, head));
  bytes.set(stream.bytes.subarray(stream.bytes.length - (limit - head)), head);
  return { bytes, total: stream.total };
};

/** An outcome from what one wants to say: an exit code or a whole end, and text or bytes of either stream. */
export const processOutcome = (
  end: number | ProcessEnd = 0,
  stdout: string | Uint8Array = '',
  stderr: string | Uint8Array = '',
  stopped?: ProcessOutcome['stopped'],
): ProcessOutcome => {
  const captured = (content: string | Uint8Array): CapturedStream => {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    return { bytes, total: bytes.length };
  };
  return {
    end: typeof end === 'number' ? { kind: 'exited', code: end } : end,
    stopped,
    stdout: captured(stdout),
    stderr: captured(stderr),
    pipesHeldBy: undefined,
  };
};

/** SIGTERM at once when the time is up or the caller gives up: nothing here can ignore it. */
const terminated = (request: ProcessRequest): { end: Promise<ProcessOutcome>; release: () => void } => {
  let release = (): void => undefined;
  const end = new Promise<ProcessOutcome>((resolve) => {
    const stop = (why: 'timeout' | 'cancelled') => (): void =>
      resolve(processOutcome({ kind: 'signalled', signal: 'SIGTERM' }, '', '', why));
    const onAbort = stop('cancelled');
    const timer = request.timeout > 0 ? setTimeout(stop('timeout'), request.timeout) : undefined;
    request.signal?.addEventListener('abort', onAbort);
    release = () => {
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', onAbort);
    };
  });
  return { end, release };
};

/** Runs functions in place of programs, by path. A path that has none does not exist; output is cut as the contract says. */
export const memoryProcessRunner = (programs: Readonly<Record<string, MemoryProgram>>): ProcessRunner => {
  const execute = async (
    request: ProcessRequest,
  ): Promise<Result<ProcessOutcome, CtrlExecError<'spawn_failed'>>> => {
    const { path, args, maxOutput } = request;
    const refused = (reason: string) =>
      err(failure('spawn_failed', `${path} could not be executed: ${reason}`, { path, reason }));
    const program = Object.hasOwn(programs, path) ? programs[path] : undefined;
    const nul = args.findIndex((argument) => argument.includes('\0'));
    if (request.signal?.aborted === true) return refused('cancelled before it was started');
    if (nul >= 0) return refused(`argument ${nul + 1} holds a NUL`);
    if (program === undefined) return refused('no such file (ENOENT)');
    const termination = terminated(request);
    try {
      const outcome = await Promise.race([program(request), termination.end]);
      return ok({
        ...outcome,
        stdout: cut(outcome.stdout, maxOutput),
        stderr: cut(outcome.stderr, maxOutput),
      });
    } finally {
      termination.release();
    }
  };
  return { run: (request) => new ResultAsync(execute(request)) };
};
