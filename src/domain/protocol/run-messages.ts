import { err, ok, type Result } from 'neverthrow';
import { fromBase64, shownUtf8, utf8 } from '../core/bytes.js';
import {
  type Codec,
  countIn,
  integer,
  isJsonObject,
  type JsonObject,
  list,
  optional,
  shaped,
  textIn,
} from '../core/decode.js';
import { isReqid, printable } from '../core/names.js';

/*
 * What two peers say to each other about runs (wire-protocol 1.2, 2.5).
 */

/** What a dispatcher asks to be run. Who reads it judges `script`, `args` and `timeout`: their refusals have an order of their own. */
export interface RunAsk {
  readonly script: unknown;
  readonly args: readonly unknown[];
  /** As it came: what is no id of ours is refused where one is needed. */
  readonly reqid?: unknown;
  readonly username: string;
  readonly token: string;
  /** Whole seconds. */
  readonly timeout?: unknown;
  /** The answer is that it was accepted; the run outlives request and agent. */
  readonly async?: boolean;
  /** The answer has the output as it comes. */
  readonly stream?: boolean;
}

export const runAsk: Codec<RunAsk> = {
  read(body) {
    const { script, args = [], reqid, timeout } = body;
    if (!Array.isArray(args)) return err('args must be an array');
    return ok({
      script,
      args: args as readonly unknown[],
      reqid,
      username: textIn(body, 'username') ?? '',
      token: textIn(body, 'token') ?? '',
      timeout,
      async: body['async'] === true,
      stream: body['stream'] === true,
    });
  },
  write: ({ script, args, reqid, username, token, timeout, async, stream }) => ({
    script,
    args,
    reqid,
    username,
    token,
    ...(timeout !== undefined && { timeout }),
    ...(async && { async }),
    ...(stream && { stream }),
  }),
};

/** How a run ended. */
export interface RunResult {
  /** 0 to 255; -1: the script was not run. */
  readonly exit: number;
  /** Why there is no exit code of the script, or no whole output; one line. */
  readonly error?: string;
  readonly stdout: string;
  readonly stderr: string;
  /** The bytes of `stdout`, base64 with padding, where they are no UTF-8; likewise of `stderr`. */
  readonly stdoutBase64?: string;
  readonly stderrBase64?: string;
  /** Bytes in all of each stream that was cut. */
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
  /** Processes of the run that live on with its output; without `count` where nobody could see how many. */
  readonly leftBehind?: { readonly count?: number; readonly pids: readonly number[] };
}

/** Processes that are named at most. */
export const maxLeftBehind = 100;

/** A result as it may be written: of a script that was not run the streams may be left out. */
export type WrittenResult = Partial<RunResult> & Pick<RunResult, 'exit'>;

/** The members of a result, wherever it stands. */
export const writeRunResult = (result: WrittenResult): JsonObject => ({
  exit: result.exit,
  ...(result.error !== undefined && { error: result.error }),
  ...(result.stdout !== undefined && { stdout: result.stdout }),
  ...(result.stderr !== undefined && { stderr: result.stderr }),
  ...(result.stdoutBase64 !== undefined && { stdout_base64: result.stdoutBase64 }),
  ...(result.stderrBase64 !== undefined && { stderr_base64: result.stderrBase64 }),
  ...(result.truncated && { truncated: result.truncated }),
  ...(result.leftBehind && { left_behind: result.leftBehind }),
});

function readRunResult(body: JsonObject): Result<RunResult, string> {
  const exit = body['exit'];
  if (typeof exit !== 'number' || !Number.isInteger(exit) || exit < -1 || exit > 255)
    return err('"exit" is not a whole number from -1 to 255');
  const odd = ['reqid', 'stdout', 'stderr', 'stdout_base64', 'stderr_base64', 'error'].find(
    (member) => body[member] !== undefined && typeof body[member] !== 'string',
  );
  if (odd !== undefined) return err(`"${odd}" is not a text`);
  const [stdout, stderr] = [readStream(body, 'stdout'), readStream(body, 'stderr')];
  if (!stdout || !stderr) return err('its output is no base64');
  const error = textIn(body, 'error');
  const truncated = readTruncated(body['truncated']);
  const leftBehind = readLeftBehind(body['left_behind']);
  return ok({
    exit,
    stdout: stdout.text,
    stderr: stderr.text,
    ...(stdout.base64 !== undefined && { stdoutBase64: stdout.base64 }),
    ...(stderr.base64 !== undefined && { stderrBase64: stderr.base64 }),
    ...(error !== undefined && { error: /* defence: agent-error-is-printable */ printable(error, 500) }),
    ...(truncated && { truncated }),
    ...(leftBehind && { leftBehind }),
  });
}

/** What was kept of a stream. The text is that of the bytes where both are there, whatever is said. Undefined: they are no base64. */
function readStream(
  body: JsonObject,
  stream: 'stdout' | 'stderr',
): { readonly text: string; readonly base64?: string } | undefined {
  const base64 = textIn(body, `${stream}_base64`);
  if (base64 === undefined) return { text: textIn(body, stream) ?? '' };
  const bytes = fromBase64(base64);
  return bytes && { text: shownUtf8(bytes), base64 };
}

/** The output in a body, and the bytes in all of each stream; undefined: it has none. */
export function outputIn(body: JsonObject):
  | {
      readonly text: { readonly stdout: string; readonly stderr: string };
      readonly totals: { readonly stdout: number; readonly stderr: number };
    }
  | undefined {
  const [stdout, stderr] = [textIn(body, 'stdout'), textIn(body, 'stderr')];
  if (stdout === undefined || stderr === undefined) return undefined;
  const cut = readTruncated(body['truncated']);
  const length = (stream: 'stdout' | 'stderr', text: string) => {
    const exact = textIn(body, `${stream}_base64`);
    return cut?.[stream] ?? (exact === undefined ? utf8(text) : (fromBase64(exact) ?? '')).length;
  };
  return {
    text: { stdout, stderr },
    totals: { stdout: length('stdout', stdout), stderr: length('stderr', stderr) },
  };
}

/** Undefined: there is none, or what is there is not understood. */
function readLeftBehind(value: unknown): RunResult['leftBehind'] {
  const read = leftBehind.read(value);
  return read && read.pids.length <= (read.count ?? read.pids.length) ? read : undefined;
}

const positive = integer(1, Number.MAX_SAFE_INTEGER);
const leftBehind = shaped(
  'processes',
  { count: optional(positive), pids: list(positive, 0, maxLeftBehind) },
  { open: true },
);

function readTruncated(value: unknown): RunResult['truncated'] {
  if (!isJsonObject(value)) return undefined;
  const total = (stream: 'stdout' | 'stderr') => {
    const count = countIn(value, stream);
    return count === undefined ? {} : { [stream]: count };
  };
  return { ...total('stdout'), ...total('stderr') };
}

/** The answer to a run that is waited for: how it ended, or, by `exit` -1, why it was not begun. */
export interface EndedRun<R = RunResult> {
  readonly script?: string | undefined;
  readonly reqid?: string | undefined;
  readonly result: R;
}

export const endedRun: Codec<EndedRun, EndedRun<WrittenResult>> = {
  read: (body) =>
    readRunResult(body).map((result) => ({
      script: textIn(body, 'script'),
      reqid: textIn(body, 'reqid'),
      result,
    })),
  write({ script, reqid, result }) {
    const { exit, error, ...output } = writeRunResult(result);
    const end = { exit, ...(error !== undefined && { error }) };
    // As deployed agents write it: of what was not run the id comes after the reason.
    return exit === -1 && !result.stdout
      ? { ...named(script), ...end, ...identified(reqid), ...output }
      : { ...named(script), ...identified(reqid), ...end, ...output };
  },
};

const named = (script: string | undefined) => (script === undefined ? {} : { script });
const identified = (reqid: string | undefined) => (reqid === undefined ? {} : { reqid });

/** An answer whose body is told apart by its member `status`. */
const withStatus = <T>(status: string, codec: Codec<T>): Codec<T> => ({
  read: (body) => (body['status'] === status ? codec.read(body) : err('"status" is none that this can have')),
  write: (value) => codec.write(value),
});

/** A run of this id, or of this script. */
export interface AboutRun {
  readonly script?: string | undefined;
  readonly reqid?: string | undefined;
  readonly error?: string | undefined;
}

const aboutRun = (status: string): Codec<AboutRun> =>
  withStatus(status, {
    read: (body) => {
      const error = textIn(body, 'error');
      return ok({
        script: textIn(body, 'script'),
        reqid: textIn(body, 'reqid'),
        ...(error !== undefined && { error: printable(error, 200) }),
      });
    },
    write: ({ script, reqid, error }) => ({
      ...named(script),
      status,
      ...identified(reqid),
      ...(error !== undefined && { error }),
    }),
  });

/** An async run was taken; whatever else the answer says. */
export const acceptedRun: Codec<AboutRun> = {
  ...aboutRun('accepted'),
  read: (body) => ok({ script: textIn(body, 'script'), reqid: textIn(body, 'reqid') }),
};
/** This very run goes on: its request came twice. */
export const runningRun = aboutRun('running');
/** Another run of the script goes on. */
export const busyRun = aboutRun('busy');
/** Nobody began it, as far as is known here. */
export const unknownRun = aboutRun('unknown');
/** The same, also in the words of an agent that keeps no records at all. */
export const noRecord: Codec<AboutRun> = {
  ...unknownRun,
  read: (body) => ok({ reqid: textIn(body, 'reqid') }),
};

/** What an agent's record of a run says. Times are texts of ISO 8601, in UTC. */
export interface RunRecord {
  readonly status: 'running' | 'done' | 'cancelled' | 'lost';
  readonly reqid?: string | undefined;
  readonly script?: string | undefined;
  readonly owner?: string | undefined;
  readonly started?: string | undefined;
  readonly finished?: string | undefined;
  /** Of a run that has ended. */
  readonly result?: RunResult | undefined;
}

const states = ['running', 'done', 'cancelled', 'lost'] as const;

export const runRecord: Codec<RunRecord> = {
  read(body) {
    const status = states.find((state) => state === body['status']);
    if (status === undefined) return err('"status" is none that a run can have');
    const about = {
      status,
      reqid: textIn(body, 'reqid'),
      script: textIn(body, 'script'),
      owner: textIn(body, 'owner'),
      started: textIn(body, 'started'),
      finished: textIn(body, 'finished'),
    };
    if (status === 'running') return ok(about);
    const ended = status === 'done' ? body : { exit: -1, error: status, ...body };
    return readRunResult(ended).map((result) => ({ ...about, result }));
  },
  write: ({ reqid, status, script, owner, started, finished, result }) => ({
    reqid,
    status,
    script,
    owner,
    started,
    ...(finished !== undefined && { finished }),
    ...(result && writeRunResult(result)),
  }),
};

/** It was not begun, and will not be: proved where the agent's records are complete since well before it was asked for. */
export interface VoidRun {
  readonly reqid?: string | undefined;
  /** Epoch milliseconds of the agent's clock. */
  readonly completeSince: number;
}

export const voidRun: Codec<VoidRun> = withStatus('void', {
  read(body) {
    const completeSince = countIn(body, 'complete_since');
    return completeSince === undefined
      ? err('"complete_since" is no time')
      : ok({ reqid: textIn(body, 'reqid'), completeSince });
  },
  write: ({ reqid, completeSince }) => ({
    status: 'void',
    complete_since: completeSince,
    ...identified(reqid),
  }),
});

/** Which run is meant. */
export interface WhichRun {
  readonly reqid: string;
}

export const whichRun: Codec<WhichRun> = {
  read(body) {
    const reqid = textIn(body, 'reqid');
    return reqid !== undefined && isReqid(reqid)
      ? ok({ reqid })
      : err('reqid must be 1 to 64 letters, digits, "_" or "-"');
  },
  write: ({ reqid }) => ({ reqid }),
};

/** What became of a request to stop a run, where nothing more is said. */
export const cancelState = (status: 'cancelling' | 'done' | 'unknown'): Codec<object> =>
  withStatus(status, { read: () => ok({}), write: () => ({ status }) });
