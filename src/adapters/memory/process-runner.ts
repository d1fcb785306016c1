import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type {
  CapturedStream,
  OutputStream,
  ProcessEnd,
  ProcessOutcome,
  ProcessRequest,
  ProcessRunner,
} from '../../ports/process-runner.js';

/** Output while the program runs; the returned promise is the back-pressure. What the outcome holds comes after it. */
type Print = (stream: OutputStream, content: string | Uint8Array) => Promise<void>;

type MemoryProgram = (request: ProcessRequest, print: Print) => Promise<ProcessOutcome> | ProcessOutcome;

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === 'string' ? new TextEncoder().encode(content) : content;

const largestChunk = 64 * 1024;

/** Hands output to the sink of a request, if there is one and as long as it wants any. */
const printer = ({ onOutput }: ProcessRequest) => {
  const printed: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
  let wanted = onOutput !== undefined;
  const offer = async (stream: OutputStream, bytes: Uint8Array): Promise<void> => {
    for (let at = 0; wanted && onOutput !== undefined && at < bytes.length; at += largestChunk)
      try {
        wanted = await onOutput(stream, bytes.slice(at, at + largestChunk));
      } catch {
        wanted = false;
      }
  };
  const print: Print = async (stream, content) => {
    printed[stream].push(bytesOf(content));
    await offer(stream, bytesOf(content));
  };
  const before = (stream: OutputStream, after: CapturedStream): CapturedStream => {
    const parts = printed[stream];
    if (parts.length === 0) return after;
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const bytes = new Uint8Array(length + after.bytes.length);
    let at = 0;
    for (const part of [...parts, after.bytes]) {
      bytes.set(part, at);
      at += part.length;
    }
    return { bytes, total: length + after.total };
  };
  return { print, offer, before };
};

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
    const bytes = bytesOf(content);
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

/** Runs functions in place of programs, by path. A path that has none does not exist; output is cut as the contract says. A sink that never answers is waited for. */
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
      const { print, offer, before } = printer(request);
      const outcome = await Promise.race([program(request, print), termination.end]);
      await offer('stdout', outcome.stdout.bytes);
      await offer('stderr', outcome.stderr.bytes);
      return ok({
        ...outcome,
        stdout: cut(before('stdout', outcome.stdout), maxOutput),
        stderr: cut(before('stderr', outcome.stderr), maxOutput),
      });
    } finally {
      termination.release();
    }
  };
  return { run: (request) => new ResultAsync(execute(request)) };
};
