import { err, ok, type Result } from 'neverthrow';
import { base64, decodeUtf8, fromBase64, utf8 } from '../core/bytes.js';
import { isJsonObject } from '../core/decode.js';
import { parseJsonObject } from '../core/json.js';
import { contentDigestOf } from './message-signature.js';

/*
 * The lines of a streamed run (wire-protocol 2.5): what the script writes as it comes, then one line that says how it ended and
 * vouches for everything before it.
 */

export const streamType = 'application/x-ndjson';

/** Milliseconds without output after which a line says that the run goes on. */
export const idleInterval = 15_000;

/** Bytes of output that one line takes at most: a program's output is handed on in pieces of this size. */
export const maxStreamChunk = 64 * 1024;

/** Bytes of a line of output: the largest chunk, every byte of it escaped as `\u00xx`, and what is around it. */
const maxOutputLine = 6 * maxStreamChunk + 64;

/** A digest over what comes in parts. */
export interface RunningDigest {
  /** Adds bytes. */
  update(data: Uint8Array): void;
  /** The digest of everything so far. Called once, at the end. */
  digest(): Uint8Array;
}

/** The signature of an answer, as the values of the headers of these names would be. */
interface EndSignature {
  readonly input: string;
  readonly signature: string;
}

/** The last line of a stream. */
export interface StreamEnd {
  /** What `/run` would have answered. */
  readonly result: Readonly<Record<string, unknown>>;
  /** Of all bytes before this line, as `content-digest` has it: `sha-256=:…:`. */
  readonly digest: string;
  readonly signature: EndSignature;
}

export type StreamLine =
  | { readonly kind: 'output'; readonly stream: 'stdout' | 'stderr'; readonly bytes: Uint8Array }
  | { readonly kind: 'idle' }
  | ({ readonly kind: 'end' } & StreamEnd);

const line = (value: unknown): Uint8Array => utf8(`${JSON.stringify(value)}\n`);

/** A piece of output as a line: as text where it is UTF-8 on its own, else as base64. At most `maxStreamChunk` bytes. */
export function outputLine(stream: 'stdout' | 'stderr', chunk: Uint8Array): Uint8Array {
  const t = stream === 'stdout' ? 'out' : 'err';
  const d = decodeUtf8(chunk);
  return line(d === undefined ? { t, b: base64(chunk) } : { t, d });
}

/** Bytes of output that `outputLines` puts into a line: short enough to see a slow reader take them. */
const pieceSize = 16 * 1024;

/** Output as lines, cut between characters where it is UTF-8. */
export function outputLines(stream: 'stdout' | 'stderr', chunk: Uint8Array): readonly Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let at = 0; at < chunk.length; ) {
    let end = Math.min(at + pieceSize, chunk.length);
    // Before the first byte of the character that would be cut; no character has more than three others.
    for (let back = 0; back < 3 && end < chunk.length && isContinuation(chunk[end]); back += 1) end -= 1;
    lines.push(outputLine(stream, chunk.subarray(at, end)));
    at = end;
  }
  return lines;
}

const isContinuation = (byte = 0): boolean => (byte & 0xc0) === 0x80;

export const idleLine = (): Uint8Array => line({ t: 'idle' });

export const endLine = ({ result, digest, signature }: StreamEnd): Uint8Array =>
  line({ t: 'end', result, digest, sig: signature });

/** Reads the lines of a stream as its bytes come. */
export interface StreamReader {
  /**
   * The lines that these bytes complete. Err: this is no stream of ours, and nothing after it counts; called again it says the
   * same. The end line is handed out only if its digest is that of the bytes before it; its signature is still to be checked.
   */
  push(bytes: Uint8Array): Result<readonly StreamLine[], string>;
  /** What is wrong with a stream whose bytes end here; undefined: it had its end line. */
  whyIncomplete(): string | undefined;
}

/** How an end line begins: only it may be longer than a line of output. */
const endBegins = utf8('{"t":"end",');

/**
 * Holds at most one line: of output 393,280 bytes, the end line up to a limit.
 * @param digest over nothing yet
 * @param maxEnd bytes of the end line
 */
export function streamReader(digest: RunningDigest, maxEnd: number): StreamReader {
  let pending: Uint8Array[] = [];
  let length = 0;
  let ended = false;
  let failed: string | undefined;

  const fail = (reason: string) => {
    failed = reason;
    pending = [];
    return err(reason);
  };

  const limit = (): number => {
    const first = joined(pending, endBegins.length);
    return endBegins.every((byte, index) => first[index] === byte) ? maxEnd : maxOutputLine;
  };

  const whole = (): Result<readonly StreamLine[], string> => {
    const bytes = joined(pending, length);
    pending = [];
    length = 0;
    return readLine(bytes).andThen((read) => {
      if (read?.kind !== 'end') {
        digest.update(bytes);
        return ok(read ? [read] : []);
      }
      ended = true;
      const found = contentDigestOf(digest.digest());
      return /* defence: stream-digest-is-compared */ read.digest === found
        ? ok([read])
        : err('the digest of its end line is not the one of what came');
    });
  };

  return {
    push(bytes) {
      if (failed !== undefined) return err(failed);
      const lines: StreamLine[] = [];
      let at = 0;
      while (at < bytes.length) {
        if (ended) return fail('something follows its end line');
        const newline = bytes.indexOf(10, at);
        const part = bytes.slice(at, newline < 0 ? bytes.length : newline + 1);
        at += part.length;
        pending.push(part);
        length += part.length;
        if (length > maxOutputLine && length > limit()) return fail('one of its lines is too long');
        if (newline < 0) break;
        const read = whole();
        if (read.isErr()) return fail(read.error);
        lines.push(...read.value);
      }
      return ok(lines);
    },
    whyIncomplete: () => failed ?? (ended ? undefined : 'it stopped before its end line'),
  };
}

/** The first `length` bytes of these parts. */
function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only) return only.subarray(0, length);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    if (at >= length) break;
    const taken = part.subarray(0, length - at);
    bytes.set(taken, at);
    at += taken.length;
  }
  return bytes;
}

/** Undefined: a kind of line that a later version may have; it counts for the digest alone. */
function readLine(bytes: Uint8Array): Result<StreamLine | undefined, string> {
  return parseJsonObject(bytes)
    .mapErr((reason) => `one of its lines is ${reason}`)
    .andThen((value): Result<StreamLine | undefined, string> => {
      switch (value['t']) {
        case 'out':
          return readOutput('stdout', value);
        case 'err':
          return readOutput('stderr', value);
        case 'idle':
          return ok({ kind: 'idle' });
        case 'end':
          return readEnd(value);
        default:
          return ok(undefined);
      }
    });
}

function readOutput(
  stream: 'stdout' | 'stderr',
  { d, b }: Readonly<Record<string, unknown>>,
): Result<StreamLine, string> {
  if (typeof d === 'string' && b === undefined) return ok({ kind: 'output', stream, bytes: utf8(d) });
  const bytes = typeof b === 'string' && d === undefined ? fromBase64(b) : undefined;
  return bytes ? ok({ kind: 'output', stream, bytes }) : err('one of its lines has neither "d" nor "b"');
}

function readEnd({ result, digest, sig }: Readonly<Record<string, unknown>>): Result<StreamLine, string> {
  if (!isJsonObject(result) || typeof digest !== 'string' || !isJsonObject(sig))
    return err('its end line lacks "result", "digest" or "sig"');
  const { input, signature } = sig;
  if (typeof input !== 'string' || typeof signature !== 'string')
    return err('"sig" of its end line lacks "input" or "signature"');
  return ok({ kind: 'end', result, digest, signature: { input, signature } });
}
