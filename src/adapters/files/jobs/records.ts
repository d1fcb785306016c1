import { readFile } from 'node:fs/promises';
import type { JobHeader, JobState } from '../../../ports/jobs.js';
import type { CapturedStream, ProcessEnd, ProcessOutcome } from '../../../ports/process-runner.js';
import { frame, readFrames, unframe } from '../journal/frames.js';

/** A later version that writes another refuses, or is refused, instead of guessing. */
const format = 1;

/** What a record says, but for the output. */
export interface JobSummary {
  readonly header: JobHeader;
  readonly status: JobState['status'];
  /** Epoch milliseconds; 0 as long as it runs. */
  readonly finishedAt: number;
}

type Fields = Readonly<Record<string, unknown>>;

const none: CapturedStream = { bytes: new Uint8Array(), total: 0 };

const outputOf = (state: JobState): Pick<ProcessOutcome, 'stdout' | 'stderr'> => {
  if (state.status === 'running') return { stdout: none, stderr: none };
  if (state.status === 'lost') return state;
  return 'notRun' in state.result ? { stdout: none, stderr: none } : state.result;
};

/** Three frames: what is known of the job as JSON, then what is kept of its two streams. */
export function encodeJob(header: JobHeader, state: JobState): Buffer {
  const { stdout, stderr } = outputOf(state);
  const { owner, reqid, script, startedAt } = header;
  const { status } = state;
  const ended = status === 'running' ? {} : { finishedAt: state.finishedAt };
  const reason = status === 'lost' ? { reason: state.reason } : {};
  const result = 'result' in state ? { result: resultOf(state.result), outputLost: state.outputLost } : {};
  const totals = { stdout: stdout.total, stderr: stderr.total };
  const record = { format, owner, reqid, script, startedAt, status, ...ended, ...reason, ...result, totals };
  return Buffer.concat([
    frame(Buffer.from(JSON.stringify(record))),
    frame(stdout.bytes),
    frame(stderr.bytes),
  ]);
}

const resultOf = (result: ProcessOutcome | { readonly notRun: string }) =>
  'notRun' in result ? { notRun: result.notRun } : { end: result.end, stopped: result.stopped };

/** Reads how a job stands, not its output; undefined: it is no record. */
export async function readSummary(path: string): Promise<JobSummary | undefined> {
  let fields: Fields | undefined;
  await readFrames(
    path,
    (payload) => {
      fields = fieldsOf(payload);
    },
    1,
  );
  return fields && summaryOf(fields);
}

/** Reads how a job ended, with its output; undefined: the record is not whole. */
export async function readState(path: string): Promise<JobState | undefined> {
  const bytes = await readFile(path);
  const payloads: Buffer[] = [];
  for (let at = 0; payloads.length < 3; ) {
    const found = unframe(bytes, at);
    if (typeof found === 'string') return undefined;
    payloads.push(found.payload);
    at = found.end;
  }
  const [record = Buffer.alloc(0), stdout = record, stderr = record] = payloads;
  const fields = fieldsOf(record);
  return fields && stateOf(fields, stdout, stderr);
}

function fieldsOf(payload: Uint8Array): Fields | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(payload));
    const isRecord = typeof value === 'object' && value !== null && (value as Fields)['format'] === format;
    return isRecord ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

const isStatus = (value: unknown): value is JobState['status'] =>
  typeof value === 'string' && ['running', 'done', 'cancelled', 'lost'].includes(value);

function summaryOf(fields: Fields): JobSummary | undefined {
  const { owner, reqid, script, startedAt, status, finishedAt = 0 } = fields;
  if (typeof owner !== 'string' || typeof reqid !== 'string' || typeof script !== 'string') return undefined;
  if (typeof startedAt !== 'number' || typeof finishedAt !== 'number' || !isStatus(status)) return undefined;
  return { header: { owner, reqid, script, startedAt }, status, finishedAt };
}

function stateOf(fields: Fields, out: Buffer, error: Buffer): JobState | undefined {
  const summary = summaryOf(fields);
  if (summary === undefined) return undefined;
  const { status, finishedAt } = summary;
  if (status === 'running') return { status };
  const totals = (fields['totals'] ?? {}) as Fields;
  const stdout = captured(out, totals['stdout']);
  const stderr = captured(error, totals['stderr']);
  if (status === 'lost') return { status, finishedAt, reason: String(fields['reason']), stdout, stderr };
  const { notRun, end, stopped } = (fields['result'] ?? {}) as Fields;
  const { outputLost } = fields;
  const lost = typeof outputLost === 'string' ? outputLost : undefined;
  if (typeof notRun === 'string') return { status, finishedAt, result: { notRun }, outputLost: lost };
  if (!isEnd(end)) return undefined;
  const why = stopped === 'timeout' || stopped === 'cancelled' ? stopped : undefined;
  const result: ProcessOutcome = { end, stopped: why, stdout, stderr, pipesHeldBy: undefined };
  return { status, finishedAt, result, outputLost: lost };
}

const captured = (bytes: Buffer, total: unknown): CapturedStream => ({
  bytes: new Uint8Array(bytes),
  total: typeof total === 'number' && total >= bytes.length ? total : bytes.length,
});

function isEnd(value: unknown): value is ProcessEnd {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, code, signal } = value as Fields;
  return (
    (kind === 'exited' && typeof code === 'number') || (kind === 'signalled' && typeof signal === 'string')
  );
}
