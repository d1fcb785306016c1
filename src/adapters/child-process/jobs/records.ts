import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { errorName } from '../../../domain/core/thrown.js';
import type { Segment } from '../../../domain/runs/output-ring.js';
import type { JobHeader, JobState } from '../../../ports/jobs.js';
import type { CapturedStream, ProcessEnd, ProcessOutcome } from '../../../ports/process-runner.js';
import { type ProcessIdentity, readIdentity } from '../../shared/process-identity.js';
import type { PipeIdentity } from '../pipe-holders.js';
import { fileNames, format, unlessMissing } from './layout.js';

/** The record `job`. */
export interface JobRecord extends JobHeader {
  readonly maxOutput: number;
  /** Who was about to start it. */
  readonly starter: ProcessIdentity;
}

/** The record `watcher`; `nobody`: the job was given up before anybody took care of it. */
export type WatcherRecord = ProcessIdentity | 'nobody';

/** The record `program`. */
export interface ProgramRecord {
  readonly pipes: readonly PipeIdentity[];
  readonly process: ProcessIdentity | undefined;
}

/** Where in its file lies what is kept of a stream. */
export interface KeptStream {
  readonly total: number;
  readonly segments: readonly Segment[];
}

export type EndRecord = {
  readonly finishedAt: number;
  readonly stdout: KeptStream;
  readonly stderr: KeptStream;
} & (
  | {
      readonly status: 'done' | 'cancelled';
      readonly result: Omit<ProcessOutcome, OutputName> | { readonly notRun: string };
      readonly outputLost: string | undefined;
    }
  | { readonly status: 'lost'; readonly reason: string }
);

type OutputName = 'stdout' | 'stderr';
type Fields = Readonly<Record<string, unknown>>;

export const encode = (record: object): string => JSON.stringify({ format, ...record });

const limit = 1024 * 1024;

/** A record; `damaged` when it is there and is none; undefined when it is not there. */
const readRecord = async <T>(
  directory: string,
  name: string,
  decode: (fields: Fields) => T | undefined,
): Promise<T | 'damaged' | undefined> => {
  const path = join(directory, name);
  const handle = await unlessMissing(
    open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  );
  if (handle === undefined) return undefined;
  try {
    const status = await handle.stat();
    if (!status.isFile() || status.size > limit) return 'damaged';
    const value: unknown = JSON.parse(await handle.readFile('utf8'));
    if (typeof value !== 'object' || value === null || (value as Fields)['format'] !== format)
      return 'damaged';
    return decode(value as Fields) ?? 'damaged';
  } catch (thrown) {
    if (errorName(thrown) === 'SyntaxError') return 'damaged';
    throw thrown;
  } finally {
    await handle.close();
  }
};

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

export const readJob = (directory: string) =>
  readRecord(directory, fileNames.job, (fields): JobRecord | undefined => {
    const { owner, reqid, script, startedAt, maxOutput } = fields;
    const starter = readIdentity(fields['starter']);
    if (typeof owner !== 'string' || typeof reqid !== 'string' || typeof script !== 'string')
      return undefined;
    if (typeof startedAt !== 'number' || !isCount(maxOutput) || starter === undefined) return undefined;
    return { owner, reqid, script, startedAt, maxOutput, starter };
  });

export const readWatcher = (directory: string) =>
  readRecord(directory, fileNames.watcher, ({ watcher }): WatcherRecord | undefined =>
    watcher === 'nobody' ? watcher : readIdentity(watcher),
  );

export const readProgram = (directory: string) =>
  readRecord(directory, fileNames.program, ({ pipes, process }): ProgramRecord | undefined => {
    if (!Array.isArray(pipes)) return undefined;
    const identities = pipes.filter(
      (pipe: unknown): pipe is PipeIdentity =>
        typeof pipe === 'object' && pipe !== null && isCount((pipe as Fields)['inode']),
    );
    const identity = readIdentity(process);
    // What is signalled as a group: -1 would be every process there is.
    if (identity !== undefined && identity.pid < 2) return undefined;
    return { pipes: identities, process: identity };
  });

const readKept = (value: unknown): KeptStream | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  const { total, segments } = value as Fields;
  if (!isCount(total) || !Array.isArray(segments)) return undefined;
  const whole = segments.every(
    (segment: unknown) => Array.isArray(segment) && segment.length === 2 && segment.every(isCount),
  );
  return whole ? { total, segments: segments as Segment[] } : undefined;
};

const readProcessEnd = (value: unknown): ProcessEnd | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kind, code, signal } = value as Fields;
  if (kind === 'exited' && typeof code === 'number') return { kind, code };
  if (kind === 'signalled' && typeof signal === 'string') return { kind, signal };
  return undefined;
};

const readResult = (value: unknown): Omit<ProcessOutcome, OutputName> | { notRun: string } | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  const { notRun, end: ending, stopped, pipesHeldBy } = value as Fields;
  if (typeof notRun === 'string') return { notRun };
  const end = readProcessEnd(ending);
  if (end === undefined) return undefined;
  return {
    end,
    stopped: stopped === 'timeout' || stopped === 'cancelled' ? stopped : undefined,
    pipesHeldBy: Array.isArray(pipesHeldBy) ? pipesHeldBy.filter(isCount) : undefined,
  };
};

export const readEnd = (directory: string) =>
  readRecord(directory, fileNames.end, (fields): EndRecord | undefined => {
    const { status, finishedAt, reason, outputLost } = fields;
    const [stdout, stderr] = [readKept(fields['stdout']), readKept(fields['stderr'])];
    if (!isCount(finishedAt) || stdout === undefined || stderr === undefined) return undefined;
    if (status === 'lost' && typeof reason === 'string')
      return { status, finishedAt, reason, stdout, stderr };
    const result = readResult(fields['result']);
    if ((status !== 'done' && status !== 'cancelled') || result === undefined) return undefined;
    const lost = typeof outputLost === 'string' ? outputLost : undefined;
    return { status, finishedAt, result, outputLost: lost, stdout, stderr };
  });

const openOutput = (directory: string, name: OutputName): Promise<FileHandle | undefined> =>
  unlessMissing(
    open(join(directory, fileNames[name]), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  );

const readStream = async (
  directory: string,
  name: OutputName,
  { total, segments }: KeptStream,
): Promise<CapturedStream> => {
  const handle = await openOutput(directory, name);
  if (handle === undefined) return { bytes: new Uint8Array(), total };
  try {
    const { size } = await handle.stat();
    const present = segments.filter(([position, length]) => position + length <= size);
    const bytes = new Uint8Array(present.reduce((sum, [, length]) => sum + length, 0));
    let at = 0;
    for (const [position, length] of present) {
      const { bytesRead } = await handle.read(bytes, at, length, position);
      at += bytesRead;
    }
    return { bytes: bytes.subarray(0, at), total };
  } finally {
    await handle.close();
  }
};

/**
 * What is left of a stream that nobody counted to its end: a file that is not full is its beginning, of a full one the
 * second half may have been overwritten.
 */
export const unfinished = async (
  directory: string,
  name: OutputName,
  maxOutput: number,
): Promise<KeptStream> => {
  const handle = await openOutput(directory, name);
  if (handle === undefined) return { total: 0, segments: [] };
  try {
    const { size } = await handle.stat();
    return { total: size, segments: [[0, size < maxOutput ? size : Math.floor(maxOutput / 2)]] };
  } finally {
    await handle.close();
  }
};

/** The state of a job that ended, with its output. */
export const stateOfEnd = async (directory: string, end: EndRecord): Promise<JobState> => {
  const stdout = await readStream(directory, 'stdout', end.stdout);
  const stderr = await readStream(directory, 'stderr', end.stderr);
  const { status, finishedAt } = end;
  if (status === 'lost') return { status, finishedAt, reason: end.reason, stdout, stderr };
  const result = 'notRun' in end.result ? end.result : { ...end.result, stdout, stderr };
  return { status, finishedAt, result, outputLost: end.outputLost };
};
