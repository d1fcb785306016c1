import { err, ok, type Result } from 'neverthrow';
import { fromBase64, shownUtf8 } from '../core/bytes.js';
import { type CtrlExecError, failure } from '../core/errors.js';
import { isHostName } from '../core/host-argument.js';
import { parseJsonObject } from '../core/json.js';
import { printable } from '../core/names.js';

/** Bytes of body that an agent accepts (wire-protocol 1.1). */
export const maxRequestBody = 1024 * 1024;

/** Bytes of body that it accepts of a trusted dispatcher where the body may hold a revocation list (wire-protocol 2.4). */
export const maxListBody = 8 * 1024 * 1024;

/**
 * Bytes of a `/run` answer that a dispatcher accepts: two streams of 16 MiB, every byte escaped as `\u00xx`, and, because one
 * of them was no UTF-8, all of them as base64, too.
 */
export const maxRunAnswer = 240 * 1024 * 1024;

/** Bytes of a `/ping` answer that a dispatcher accepts. */
export const maxPingAnswer = 64 * 1024;

/** Bytes of a `/capabilities` answer that a dispatcher accepts. */
export const maxCapabilitiesAnswer = 8 * 1024 * 1024;

/** Bytes of an answer that a dispatcher accepts where a revocation list may be in it. */
export const maxListAnswer = 8 * 1024 * 1024;

/** Tags and scripts of one agent that are looked at; what is more is left out. */
const maxTags = 200;
const maxScripts = 10_000;

/** What this version of an agent can do that a legacy one cannot, in the words of the wire. */
export const agentFeatures: readonly string[] = ['settle', 'cancel', 'stream', 'crl', 'new-key'];

const maxFeatures = 100;

/** Standard TCP port of agents. */
export const agentPort = 7443;

type Body = Readonly<Record<string, unknown>>;
type AnswerFailure = CtrlExecError<'refused' | 'protocol_violation'>;

const textOf = (body: Body, member: string): string | undefined => {
  const value = body[member];
  return typeof value === 'string' ? value : undefined;
};

/** How the agent names itself; empty where that is no host name. */
function hostNameOf(body: Body): string {
  const name = textOf(body, 'host') ?? '';
  return isHostName(name) ? name : '';
}

const violation = (reason: string): AnswerFailure =>
  failure('protocol_violation', `the agent's answer is not understood: ${reason}`, { reason });

/** What a refusal means and what to do about it, where the agent's own words need that. */
const hints: ReadonlyMap<string, string> = new Map([
  ['serial mismatch', 'it does not trust this dispatcher certificate; pair it with this dispatcher'],
  ['forbidden', 'it does not trust this dispatcher certificate; pair it with this dispatcher'],
  ['certificate revoked', 'it holds the certificate of this dispatcher for revoked'],
  ['signature expired', 'its clock and the one of this host differ by more than 30 s'],
]);

function refusal(status: number, body: Body | undefined): AnswerFailure {
  const said = body && (textOf(body, 'error') ?? textOf(body, 'status'));
  const reason = printable(said ?? `HTTP status ${status}`, 200);
  const hint = hints.get(reason) ?? printable((body && textOf(body, 'detail')) ?? '', 300);
  return failure('refused', `refused by the agent: ${reason}${hint ? ` (${hint})` : ''}`, { status, reason });
}

/** The JSON object of a 200 answer; any other status is what the agent said against it. */
function accepted(status: number, bytes: Uint8Array): Result<Body, AnswerFailure> {
  const body = parseJsonObject(bytes);
  if (status !== 200) return err(refusal(status, body.isOk() ? body.value : undefined));
  return body.mapErr(violation);
}

/** What `/run` answered. `exit` is -1 when the agent did not run the script. */
export interface RunAnswer {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The bytes of `stdout`, base64 with padding, where they are no UTF-8; likewise of `stderr`. */
  readonly stdoutBase64?: string;
  readonly stderrBase64?: string;
  readonly error?: string;
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
  /** Processes of the run that live on with its output; without `count` where nobody could see how many. */
  readonly leftBehind?: { readonly count?: number; readonly pids: readonly number[] };
}

/** Processes that are named at most. */
export const maxLeftBehind = 100;

export function readRunAnswer(
  status: number,
  bytes: Uint8Array,
  reqid: string,
): Result<RunAnswer, AnswerFailure> {
  return accepted(status, bytes).andThen((body) => readRunResult(body, reqid));
}

/** The object that tells how a run ended, wherever it stands. */
export function readRunResult(body: Body, reqid: string): Result<RunAnswer, AnswerFailure> {
  const exit = body['exit'];
  if (typeof exit !== 'number' || !Number.isInteger(exit) || exit < -1 || exit > 255)
    return err(violation('"exit" is not a whole number from -1 to 255'));
  const odd = ['reqid', 'stdout', 'stderr', 'stdout_base64', 'stderr_base64', 'error'].find(
    (member) => body[member] !== undefined && typeof body[member] !== 'string',
  );
  if (odd !== undefined) return err(violation(`"${odd}" is not a text`));
  if (isAboutAnother(body, reqid)) return err(violation('it is about another request'));
  const [stdout, stderr] = [readStream(body, 'stdout'), readStream(body, 'stderr')];
  if (!stdout || !stderr) return err(violation('its output is no base64'));
  const error = textOf(body, 'error');
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

const countOf = (body: Body, member: string): number | undefined => {
  const value = body[member];
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
};
/** What was kept of a stream. The text is that of the bytes where both are there, whatever is said. Undefined: they are no base64. */
function readStream(
  body: Body,
  stream: 'stdout' | 'stderr',
): { readonly text: string; readonly base64?: string } | undefined {
  const base64 = textOf(body, `${stream}_base64`);
  if (base64 === undefined) return { text: textOf(body, stream) ?? '' };
  const bytes = fromBase64(base64);
  return bytes && { text: shownUtf8(bytes), base64 };
}

/** Undefined: there is none, or what is there is not understood. */
function readLeftBehind(value: unknown): RunAnswer['leftBehind'] {
  if (typeof value !== 'object' || value === null) return undefined;
  const { count, pids } = value as { readonly count?: unknown; readonly pids?: unknown };
  const isCount = (one: unknown): one is number =>
    typeof one === 'number' && Number.isSafeInteger(one) && one > 0;
  if (!Array.isArray(pids) || pids.length > maxLeftBehind || !pids.every(isCount)) return undefined;
  if (count !== undefined && !(isCount(count) && count >= pids.length)) return undefined;
  return { ...(count !== undefined && { count }), pids };
}

const isAboutAnother = (body: Body, reqid: string): boolean =>
  /* defence: answer-is-of-its-request */ body['reqid'] !== undefined && body['reqid'] !== reqid;

function readTruncated(value: unknown): RunAnswer['truncated'] {
  if (typeof value !== 'object' || value === null) return undefined;
  const total = (stream: 'stdout' | 'stderr') => {
    const count: unknown = Reflect.get(value, stream);
    return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? { [stream]: count } : {};
  };
  return { ...total('stdout'), ...total('stderr') };
}

/** What an agent made of an async run. `ran`: it knows no async runs, and ran the script at once. */
export type SubmitAnswer =
  | { readonly status: 'accepted' }
  | { readonly status: 'busy'; readonly error: string }
  | { readonly status: 'ran'; readonly answer: RunAnswer };

export function readSubmitAnswer(
  status: number,
  bytes: Uint8Array,
  reqid: string,
): Result<SubmitAnswer, AnswerFailure> {
  if (status === 200) return readRunAnswer(status, bytes, reqid).map((answer) => ({ status: 'ran', answer }));
  const body = parseJsonObject(bytes).unwrapOr(undefined);
  if (body && isAboutAnother(body, reqid)) return err(violation('it is about another request'));
  // `running`: this very run, whose request came twice.
  if (status === 202 || (status === 409 && body?.['status'] === 'running'))
    return body ? ok({ status: 'accepted' }) : err(violation('not valid JSON'));
  if (status === 409 && body?.['status'] === 'busy')
    return ok({ status: 'busy', error: printable(textOf(body, 'error') ?? 'busy', 200) });
  return err(refusal(status, body));
}

/** What an agent's record of a run says. `unknown`: it has none for this dispatcher. */
export type RecordAnswer =
  | { readonly status: 'running' | 'unknown' }
  | { readonly status: 'done' | 'cancelled' | 'lost'; readonly answer: RunAnswer };

export function readRecordAnswer(
  status: number,
  bytes: Uint8Array,
  reqid: string,
): Result<RecordAnswer, AnswerFailure> {
  // Also an agent that keeps no records at all.
  if (status === 404) return ok({ status: 'unknown' });
  return accepted(status, bytes).andThen((body): Result<RecordAnswer, AnswerFailure> => {
    if (isAboutAnother(body, reqid)) return err(violation('it is about another request'));
    switch (body['status']) {
      case 'running':
        return ok({ status: 'running' });
      case 'done':
        return readRunResult(body, reqid).map((answer) => ({ status: 'done', answer }));
      case 'cancelled':
        return readRunResult({ exit: -1, error: 'cancelled', ...body }, reqid).map((answer) => ({
          status: 'cancelled',
          answer,
        }));
      case 'lost':
        return readRunResult({ exit: -1, error: 'lost', ...body }, reqid).map((answer) => ({
          status: 'lost',
          answer,
        }));
      default:
        return err(violation('"status" is none that a run can have'));
    }
  });
}

/**
 * What an agent answers that is asked how a run ended. `void`: it was not begun, and will not be; that it was never begun is proved
 * where the agent's records are complete since well before it was asked for. `unknown`: it cannot say.
 */
export type SettleAnswer =
  | RecordAnswer
  | {
      readonly status: 'void';
      /** Epoch milliseconds of the agent's clock. */
      readonly completeSince: number;
    };

export function readSettleAnswer(
  status: number,
  bytes: Uint8Array,
  reqid: string,
): Result<SettleAnswer, AnswerFailure> {
  return accepted(status, bytes).andThen((body): Result<SettleAnswer, AnswerFailure> => {
    const said = body['status'];
    if (said !== 'void' && said !== 'unknown') return readRecordAnswer(status, bytes, reqid);
    if (isAboutAnother(body, reqid)) return err(violation('it is about another request'));
    if (said === 'unknown') return ok({ status: said });
    const completeSince = countOf(body, 'complete_since');
    return completeSince === undefined
      ? err(violation('"complete_since" is no time'))
      : ok({ status: said, completeSince });
  });
}

/** What legacy agents make of a request to stop a run. */
export const cancelUnknown = 'not known to legacy agents';

/** What an agent made of a request to stop a run. `done`: it had ended. `unknown`: it has no such run of this dispatcher. */
export function readCancelAnswer(
  status: number,
  bytes: Uint8Array,
): Result<'cancelling' | 'done' | 'unknown', AnswerFailure> {
  const body = parseJsonObject(bytes).unwrapOr(undefined);
  const said = body?.['status'];
  if (status === 200)
    return said === 'cancelling' ? ok(said) : err(violation('"status" is not "cancelling"'));
  if (status === 409 && said === 'done') return ok(said);
  if (status === 404 && said === 'unknown') return ok(said);
  if (status === 404) return err(failure('refused', cancelUnknown, { status, reason: cancelUnknown }));
  return err(refusal(status, body));
}

/** The answer of an agent did not come in time: in the words of deployed dispatchers, which scripts look for. */
export const readTimeout = (timeoutMs: number): CtrlExecError<'timed_out'> =>
  failure('timed_out', `read timeout after ${timeoutMs / 1000}s`, { phase: 'answer', timeoutMs });

/** Whether an agent took what it was told: `"status":"ok"`, or `refused` in its own words. */
export function readAcknowledgement(status: number, bytes: Uint8Array): Result<void, AnswerFailure> {
  return accepted(status, bytes).andThen((body) => {
    if (body['status'] === 'ok') return ok(undefined);
    if (body['status'] === 'error') return err(refusal(status, body));
    return err(violation('"status" is neither "ok" nor "error"'));
  });
}

/** The revocation list that an agent holds, PEM, where it took another one not because of that. */
export const readHeldList = (status: number, bytes: Uint8Array): string | undefined =>
  status === 409
    ? parseJsonObject(bytes)
        .map((body) => textOf(body, 'crl_pem'))
        .unwrapOr(undefined)
    : undefined;

/** The CSR of a `/renew` answer, PEM. */
export function readRenewal(status: number, bytes: Uint8Array): Result<string, AnswerFailure> {
  return accepted(status, bytes).andThen((body) => {
    const csr = textOf(body, 'csr');
    if (body['status'] === 'ok' && csr !== undefined) return ok(csr);
    return body['status'] === 'error' ? err(refusal(status, body)) : err(violation('"csr" is missing'));
  });
}

export interface PingAnswer {
  readonly reportedHostname: string;
  readonly version: string;
  /** notAfter in OpenSSL's text form. */
  readonly expiry: string;
  /** Number of the revocation list that the agent holds; undefined where it does not say. */
  readonly crlNumber: number | undefined;
  /** A renewed certificate waits for the agent to be restarted; only legacy agents know that. */
  readonly staged: boolean;
  /** What it can do beyond a legacy agent. */
  readonly features: readonly string[];
  /** What is wrong on the host, in the agent's words. */
  readonly problems: readonly string[];
}

const maxProblems = 10;

const readProblems = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [])
    .filter((words: unknown): words is string => typeof words === 'string')
    .slice(0, maxProblems)
    .map((words) => printable(words, 200));

const readFeatures = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [])
    .filter((word: unknown): word is string => typeof word === 'string' && /^[a-z0-9-]{1,64}$/.test(word))
    .slice(0, maxFeatures);

export function readPingAnswer(status: number, bytes: Uint8Array): Result<PingAnswer, AnswerFailure> {
  return accepted(status, bytes).andThen((body) =>
    body['status'] === 'ok'
      ? ok({
          reportedHostname: hostNameOf(body),
          version: printable(textOf(body, 'version') ?? ''),
          expiry: printable(textOf(body, 'expiry') ?? ''),
          crlNumber: countOf(body, 'crl_number'),
          staged: body['staged'] === true || body['staged'] === 1,
          features: readFeatures(body['features']),
          problems: readProblems(body['problems']),
        })
      : err(violation('"status" is not "ok"')),
  );
}

/** One allowlisted script as an agent advertises it. */
export interface AdvertisedScript {
  readonly name: string;
  readonly path: string;
  readonly executable: boolean;
  readonly profile?: string;
  /** The sidecar, verbatim (wire-protocol 1.8). */
  readonly schema?: Readonly<Record<string, unknown>>;
  readonly schema_version?: string;
  /** How many runs of it may go on at a time, where that is more than one. */
  readonly concurrency?: number;
}

export interface Capabilities {
  readonly reportedHostname: string;
  readonly version: string;
  readonly tags: Readonly<Record<string, string>>;
  /** What it can do beyond a legacy agent. */
  readonly features: readonly string[];
  readonly scripts: readonly AdvertisedScript[];
}

export function readCapabilities(status: number, bytes: Uint8Array): Result<Capabilities, AnswerFailure> {
  return accepted(status, bytes).andThen((body): Result<Capabilities, AnswerFailure> => {
    const scripts = body['scripts'];
    if (!Array.isArray(scripts)) return err(violation('"scripts" is not a list'));
    return ok({
      reportedHostname: hostNameOf(body),
      version: printable(textOf(body, 'version') ?? ''),
      tags: readTags(body['tags']),
      features: readFeatures(body['features']),
      scripts: scripts.slice(0, maxScripts).flatMap((script: unknown) => readScript(script)),
    });
  });
}

function readTags(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const entries = Object.entries(value).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(
    entries.slice(0, maxTags).map(([key, tag]) => [printable(key, 128), printable(tag, 1024)]),
  );
}

function readScript(value: unknown): AdvertisedScript[] {
  if (typeof value !== 'object' || value === null) return [];
  const body = value as Body;
  const name = textOf(body, 'name');
  if (name === undefined || !/^[A-Za-z0-9_-]{1,255}$/.test(name)) return [];
  const profile = textOf(body, 'profile');
  const version = textOf(body, 'schema_version');
  const schema = body['schema'];
  const concurrency = countOf(body, 'concurrency') ?? 1;
  return [
    {
      name,
      path: printable(textOf(body, 'path') ?? '', 4096),
      executable: body['executable'] === true || body['executable'] === 1,
      ...(profile !== undefined && { profile: printable(profile) }),
      ...(typeof schema === 'object' &&
        schema !== null &&
        !Array.isArray(schema) && { schema: schema as Body }),
      ...(version !== undefined && { schema_version: printable(version, 80) }),
      ...(concurrency >= 2 && concurrency <= 1000 && { concurrency }),
    },
  ];
}
