import { utf8 } from '../core/bytes.js';
import type { JsonObject } from '../core/decode.js';
import { outputIn } from '../protocol/run-messages.js';

/**
 * Bytes of JSON that a legacy dispatcher can take. It reads the copy that its own child process makes of a result when that has
 * ended, so one that exceeds a pipe of 64 KiB hangs it for good; the copy has some members more.
 */
export const maxLegacyAnswer = 60_000;

/** What a script wrote. */
interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly stdout_base64?: string;
  readonly stderr_base64?: string;
  /** Bytes in all of each stream that was cut. */
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
}

const size = (value: unknown): number => utf8(JSON.stringify(value)).length;

/** A legacy dispatcher shows nothing but the output: where something is missing is said there. */
const mark = (kept: number, total: number) =>
  `\n[... ${total - kept} of ${total} bytes left out: the dispatcher takes no more ...]\n`;

/** The head and the tail of a text with a mark between them, as much of both as has room in JSON. */
function shortened(text: string, room: number, total: number): string {
  const characters = [...text];
  const kept = (count: number) => {
    const head = characters.slice(0, Math.ceil(count / 2)).join('');
    const tail = characters.slice(characters.length - Math.floor(count / 2)).join('');
    return head + mark(Math.min(total, utf8(head + tail).length), total) + tail;
  };
  if (size(kept(characters.length)) <= room) return kept(characters.length);
  let fits = 0;
  let tooMany = characters.length;
  while (fits + 1 < tooMany) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (size(kept(middle)) <= room) fits = middle;
    else tooMany = middle;
  }
  return kept(fits);
}

/**
 * An answer that a legacy dispatcher can take: of what is too long head and tail are kept; a mark between them and `truncated` say so.
 * Base64, of which it knows nothing, would take the room of the text, and is left out.
 * @param totals bytes of each stream, as the script wrote them
 */
export function fittedForLegacy<A extends Output>(
  described: A,
  totals: { readonly stdout: number; readonly stderr: number },
): Omit<A, 'stdout_base64' | 'stderr_base64'> {
  const { stdout_base64: _, stderr_base64: __, ...answer } = described;
  const { stdout, stderr, truncated = {} } = answer;
  const isCut = truncated.stdout !== undefined || truncated.stderr !== undefined;
  if (size(answer) <= maxLegacyAnswer && !isCut) return answer;
  const rest = size({ ...answer, stdout: '', stderr: '', truncated: totals });
  const room = maxLegacyAnswer - rest;
  const half = Math.floor(room / 2);
  const outRoom = Math.max(half, room - size(stderr));
  const errRoom = room - Math.min(outRoom, size(stdout));
  const fitted = (stream: 'stdout' | 'stderr', space: number) =>
    size(answer[stream]) > space || truncated[stream] !== undefined
      ? shortened(answer[stream], space, totals[stream])
      : answer[stream];
  const out = fitted('stdout', outRoom);
  const error = fitted('stderr', errRoom);
  return {
    ...answer,
    stdout: out,
    stderr: error,
    truncated: {
      ...truncated,
      ...(out !== stdout && { stdout: totals.stdout }),
      ...(error !== stderr && { stderr: totals.stderr }),
    },
  };
}

/** The answer to a run. */
export const runForLegacy = (body: JsonObject): JsonObject => {
  const output = outputIn(body);
  return output ? fittedForLegacy({ ...body, ...output.text }, output.totals) : body;
};

/** A record of a run. A legacy dispatcher knows `running` and `done` only, and would wait for ever for what is neither. */
export function recordForLegacy(body: JsonObject): JsonObject {
  const output = outputIn(body);
  if (!output) return body;
  const { status, started, finished = started, error = status } = body;
  const { stdout, stderr } = output.text;
  const isDone = status === 'done';
  const told = isDone ? stderr : `${stderr}${stderr === '' || stderr.endsWith('\n') ? '' : '\n'}${error}\n`;
  const done = { ...body, status: 'done', finished, ...(!isDone && { exit: 126 }), stderr: told };
  return fittedForLegacy({ stdout, ...done }, output.totals);
}

/** Without schemas, where with them it would be more than a legacy dispatcher can take; undefined: it still is. */
export function capabilitiesForLegacy(body: JsonObject): JsonObject | undefined {
  const { scripts } = body;
  if (size(body) <= maxLegacyAnswer || !Array.isArray(scripts)) return body;
  const bare = scripts.map(({ schema: _, schema_version: __, ...others }: JsonObject) => others);
  const fitted = { ...body, scripts: bare };
  return size(fitted) <= maxLegacyAnswer ? fitted : undefined;
}
