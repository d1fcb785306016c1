import { utf8 } from './bytes.js';

/**
 * Bytes of JSON that a legacy dispatcher can take. It reads the copy that its own child process makes of a result when that has
 * ended, so one that exceeds a pipe of 64 KiB hangs it for good; the copy has some members more.
 */
export const maxLegacyAnswer = 60_000;

/** What a script wrote. */
interface Output {
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes in all of each stream that was cut. */
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
}

const size = (value: unknown): number => utf8(JSON.stringify(value)).length;

/** The head and the tail of a text, as much of both as has room in JSON. */
function shortened(text: string, room: number): string {
  const characters = [...text];
  const kept = (count: number) =>
    [
      ...characters.slice(0, Math.ceil(count / 2)),
      ...characters.slice(characters.length - Math.floor(count / 2)),
    ].join('');
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
 * An answer that a legacy dispatcher can take: of what is too long head and tail are kept, and `truncated` says so.
 * @param totals bytes of each stream, as the script wrote them
 */
export function fittedForLegacy<A extends Output>(
  answer: A,
  totals: { readonly stdout: number; readonly stderr: number },
): A {
  const { stdout, stderr } = answer;
  if (size(answer) <= maxLegacyAnswer) return answer;
  const rest = size({ ...answer, stdout: '', stderr: '', truncated: totals });
  const room = maxLegacyAnswer - rest;
  const half = Math.floor(room / 2);
  const outRoom = Math.max(half, room - size(stderr));
  const errRoom = room - Math.min(outRoom, size(stdout));
  const out = size(stdout) > outRoom ? shortened(stdout, outRoom) : stdout;
  const error = size(stderr) > errRoom ? shortened(stderr, errRoom) : stderr;
  return {
    ...answer,
    stdout: out,
    stderr: error,
    truncated: {
      ...answer.truncated,
      ...(out !== stdout && { stdout: totals.stdout }),
      ...(error !== stderr && { stderr: totals.stderr }),
    },
  };
}
