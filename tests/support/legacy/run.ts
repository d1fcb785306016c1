import type { LegacyAgentState, LegacyAnswer, LegacyBody } from './routes.js';
import { legacyTraits } from './versions.js';

/** How a script ended; text stands for its UTF-8 bytes. */
interface LegacyResult {
  readonly exit: number;
  readonly stdout?: string | Uint8Array;
  readonly stderr?: string | Uint8Array;
}

/** What a script of a simulated agent is given. */
interface LegacyRunInput {
  /** Its argument vector, the bytes taken as UTF-8. */
  readonly args: readonly string[];
  readonly argBytes: readonly Buffer[];
  readonly reqid: unknown;
  readonly username: unknown;
  readonly token: unknown;
  /** The caller's; `''` on 0.8, which knows no ids. */
  readonly dispatcherId: string;
}

export type LegacyScript = LegacyResult | ((input: LegacyRunInput) => LegacyResult | Promise<LegacyResult>);

/** An async run's record, as `/result` shows it. */
export type LegacyRun = Readonly<Record<string, unknown>>;

const scriptOfSerials = 'update-ctrl-exec-serial';

/** Allowlists `update-ctrl-exec-serial`, which ships commented out: `new Map([legacySerialScript])`. */
export const legacySerialScript: readonly [string, LegacyScript] = [scriptOfSerials, { exit: 127 }];

/** Thrown where the process that serves the request dies. */
const died = Symbol('died');

const seconds = (epoch: number) => new Date(epoch).toISOString().replace(/\.\d+Z$/, 'Z');

/** What Perl makes of a JSON value that is used as text. */
function perlText(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (Array.isArray(value)) return 'ARRAY(0x55d0c0de0000)';
  return typeof value === 'object' ? 'HASH(0x55d0c0de0000)' : String(value);
}

/** The bytes of an argument: UTF-8, but through the executor Latin-1, and what has no Latin-1 ends it (legacy facts 3.8). */
function argumentBytes(text: string, executor: boolean): Buffer {
  const [upToNul = ''] = text.split('\0');
  if (!executor) return Buffer.from(upToNul);
  if ([...upToNul].some((character) => character > '\u00ff')) throw died;
  return Buffer.from(upToNul, 'latin1');
}

/** Output as text: UTF-8 that must be valid; through the executor every byte is a character, so UTF-8 arrives encoded twice. */
function outputText(output: string | Uint8Array = '', executor: boolean): string {
  const bytes = Buffer.from(output);
  if (executor) return bytes.toString('latin1');
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw died;
  }
}

/** The script by which dispatchers before 0.11 announce a serial; it takes 8 to 40 digits (legacy facts 7). */
function updateSerial(state: LegacyAgentState, args: readonly string[]): LegacyResult {
  const usage = { exit: 1, stderr: 'usage\n' };
  const { dispatcherIds } = legacyTraits[state.version];
  const removes = dispatcherIds && args[0] === '--remove';
  const [serial = '', id = ''] = removes ? args.slice(1) : args;
  if (args.length !== (dispatcherIds ? 2 : 1)) return usage;
  if (!/^[0-9A-Fa-f]+$/.test(serial)) return { exit: 1, stderr: 'Invalid serial\n' };
  if (serial.length < 8 || serial.length > 40) return { exit: 1, stderr: 'Invalid serial length\n' };
  if (removes) state.trust.remove(serial, undefined);
  else if (dispatcherIds && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(id)) return usage;
  else state.trust.add(serial, id);
  state.hangUp();
  return { exit: 0 };
}

async function ended(state: LegacyAgentState, name: string, input: LegacyRunInput) {
  const script = state.scripts.get(name) ?? { exit: 127 };
  const isSerialScript = name === scriptOfSerials && !legacyTraits[state.version].rotateRoute;
  const result = isSerialScript
    ? updateSerial(state, input.args)
    : typeof script === 'function'
      ? await script(input)
      : script;
  return {
    exit: result.exit,
    stdout: outputText(result.stdout, state.executor),
    stderr: outputText(result.stderr, state.executor),
  };
}

/** Answers at once; the record says `running` until the script ends, and for ever where its output is no UTF-8. */
function startRun(state: LegacyAgentState, script: string, input: LegacyRunInput): LegacyAnswer {
  const { reqid, dispatcherId: owner } = input;
  const refused = (error: string): LegacyAnswer => ({
    status: 200,
    body: { script, exit: -1, reqid, error },
  });
  if (typeof reqid !== 'string' || !/^[A-Za-z0-9_-]+$/.test(reqid))
    return refused('async run requires a valid reqid');
  if (state.executor)
    return refused(
      'async runs are not yet supported with the executor (privilege separation); run synchronously',
    );
  const busy = [...state.runs.values()].some(
    (run) => run['script'] === script && run['status'] === 'running',
  );
  if (busy) return { status: 409, body: { script, status: 'busy', reqid, error: 'script already running' } };
  const record = { reqid, script, owner, started: seconds(state.now()) };
  state.runs.set(reqid, { ...record, status: 'running' });
  ended(state, script, input).then(
    (result) => {
      state.runs.set(reqid, { ...record, status: 'done', finished: seconds(state.now()), ...result });
    },
    () => {},
  );
  return { status: 202, body: { script, status: 'accepted', reqid } };
}

/** `POST /run` of a trusted dispatcher (legacy facts 3.5). Versions without async run such a request at once. */
export async function legacyRun(
  state: LegacyAgentState,
  body: LegacyBody,
  dispatcherId: string,
): Promise<LegacyAnswer> {
  if (body === 'dies') return undefined;
  if (body === undefined) return { status: 200, body: { error: 'invalid JSON', exit: -1 } };
  const { script: name, args = [], reqid = '', username = '', token = '' } = body;
  const script = perlText(name);
  if (!Array.isArray(args)) return { status: 200, body: { exit: -1, error: 'args must be an array', reqid } };
  if (!/^[\p{L}\p{N}\p{M}\p{Pc}-]+\n?$/u.test(script) || !state.scripts.has(script))
    return { status: 200, body: { script, exit: -1, error: 'script not permitted', reqid } };
  try {
    const argBytes = args.map((each) => argumentBytes(perlText(each), state.executor));
    const input = { args: argBytes.map(String), argBytes, reqid, username, token, dispatcherId };
    if (body['async'] === true && legacyTraits[state.version].async) return startRun(state, script, input);
    const { exit, stdout, stderr } = await ended(state, script, input);
    return { status: 200, body: { reqid, stdout, script, exit, stderr } };
  } catch (error) {
    if (error === died) return undefined;
    throw error;
  }
}
