import { err, ok, type Result } from 'neverthrow';
import { decodeUtf8 } from '../core/bytes.js';
import { parseJsonObject } from '../core/json.js';
import { keptText } from '../core/kept-text.js';
import { type OutputCapture, outputCapture } from './output-capture.js';

/** Bytes of everything but the output of scripts. */
export const maxAnswerBesidesOutput = 256 * 1024;

const streams = ['stdout', 'stderr'] as const;
type Stream = (typeof streams)[number];
type Member = Stream | `${Stream}_base64`;

const memberNamed = (name: unknown): Member | undefined =>
  streams.flatMap((stream): Member[] => [stream, `${stream}_base64`]).find((member) => member === name);

/** Reads one JSON object as its bytes come. */
export interface BoundedAnswer {
  /** Takes the next piece, of any size. Err: it can be none any more. */
  add(piece: Uint8Array): Result<void, string>;
  /** After the last piece. */
  end(): Result<Record<string, unknown>, string>;
}

const [quote, backslash, comma, colon, blank] = [0x22, 0x5c, 0x2c, 0x3a, 0x20];
const [brace, bracket, braceEnd, bracketEnd] = [0x7b, 0x5b, 0x7d, 0x5d];
const unescaped = new Map(
  [...'"\\/bfnrt'].map((char, at) => [char.charCodeAt(0), '"\\/\b\f\n\r\t'.charCodeAt(at)]),
);
const halfOfPair = 'half of a surrogate pair';
const notJson = 'not valid JSON';
const notUtf8 = 'not valid UTF-8';

/** The value of a hex digit; -1 for any other byte. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** The content of a long string: what is kept of it, and what is known of all of it. */
function longString(limit: number) {
  let capture: OutputCapture | undefined = outputCapture(limit);
  const validator = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const room = new Uint8Array(16_384);
  let used = 0;
  let total = 0;
  /** 0: none; 1: a backslash has come; 2 to 5: so many digits less two have. */
  let escaping = 0;
  let unit = 0;
  /** A first half of a pair, whose second has to be next. */
  let half = 0;
  /** A character may have been begun. */
  let midway = false;

  /** Takes decoded bytes. `high`: some may be beyond ASCII. False: they are no UTF-8. */
  const keep = (bytes: Uint8Array, high: boolean): boolean => {
    total += bytes.length;
    if (high || midway) {
      try {
        validator.decode(bytes, { stream: true });
      } catch {
        return false;
      }
      midway = (bytes.at(-1) ?? 0x80) >= 0x80;
    }
    capture?.add(bytes);
    return true;
  };
  const flush = (): boolean => {
    const bytes = room.subarray(0, used);
    used = 0;
    return bytes.length === 0 || keep(bytes, true);
  };
  const finish = (): boolean => {
    try {
      validator.decode();
      return true;
    } catch {
      return false;
    }
  };

  /** As UTF-8. */
  const put = (point: number) => {
    if (point < 0x80) room[used++] = point;
    else if (point < 0x800) {
      room[used++] = 0xc0 | (point >> 6);
      room[used++] = 0x80 | (point & 0x3f);
    } else {
      if (point < 0x10000) room[used++] = 0xe0 | (point >> 12);
      else {
        room[used++] = 0xf0 | (point >> 18);
        room[used++] = 0x80 | ((point >> 12) & 0x3f);
      }
      room[used++] = 0x80 | ((point >> 6) & 0x3f);
      room[used++] = 0x80 | (point & 0x3f);
    }
  };

  /** A code unit that was written as `\uXXXX`. False: it is half of a pair. */
  const putUnit = (): boolean => {
    const [high, low] = [unit >= 0xd800 && unit < 0xdc00, unit >= 0xdc00 && unit < 0xe000];
    if (half !== 0 ? !low : low) return false;
    if (high) half = unit;
    else if (low) {
      put(0x10000 + ((half - 0xd800) << 10) + (unit - 0xdc00));
      half = 0;
    } else put(unit);
    return true;
  };

  /** Takes one byte of an escape. Gives the objection to it. */
  const inEscape = (byte: number): string | undefined => {
    if (escaping === 1) {
      if (byte === 0x75) {
        escaping = 2;
        unit = 0;
        return undefined;
      }
      const char = unescaped.get(byte);
      if (char === undefined) return notJson;
      if (half !== 0) return halfOfPair;
      room[used++] = char;
      escaping = 0;
      return undefined;
    }
    const digit = hexDigit(byte);
    if (digit < 0) return notJson;
    unit = unit * 16 + digit;
    escaping += 1;
    if (escaping < 6) return undefined;
    escaping = 0;
    return putUnit() ? undefined : halfOfPair;
  };

  return {
    /** Bytes that are held. */
    held: () => (capture ? Math.min(total, limit) : 0),
    total: () => total,
    /** Keeps nothing of it any more. */
    drop() {
      capture = undefined;
    },
    isCut: () => total > limit,
    text: () => (capture ? keptText(capture.result()).text : ''),
    /** Takes bytes until the string ends; gives where its closing quote is, or the length of the piece; or an objection. */
    take(piece: Uint8Array, from: number): number | string {
      for (let at = from; at < piece.length; at++) {
        let byte = piece[at] ?? 0;
        if (used > room.length - 80 && !flush()) return notUtf8;
        if (escaping !== 0) {
          const objection = inEscape(byte);
          if (objection !== undefined) return objection;
          continue;
        }
        if (byte === backslash) {
          escaping = 1;
          continue;
        }
        if (half !== 0) return halfOfPair;
        const start = at;
        let bits = 0;
        while (byte >= blank && byte !== quote && byte !== backslash) {
          bits |= byte;
          at += 1;
          if (at === piece.length) break;
          byte = piece[at] ?? 0;
        }
        if (at - start > 64) {
          if (!flush() || !keep(piece.subarray(start, at), bits >= 0x80)) return notUtf8;
        } else for (let next = start; next < at; next++) room[used++] = piece[next] ?? 0;
        if (at === piece.length) break;
        if (byte === quote) return flush() && finish() ? at : notUtf8;
        if (byte < blank) return notJson;
        at -= 1;
      }
      return flush() ? piece.length : notUtf8;
    },
  };
}

type LongString = ReturnType<typeof longString>;

/** The size of what a base64 text of `total` characters stands for. */
const decodedSize = (total: number, text: string) =>
  (total / 4) * 3 - (/=*$/.exec(text.slice(-2))?.[0].length ?? 0);

/**
 * A reader that keeps `limit` bytes of each output of a run in an answer, head and tail, half each, and bounds everything else: of
 * the members `stdout`, `stderr`, `stdout_base64` and `stderr_base64` of the outermost object. What was cut is in `truncated`,
 * with its bytes in all, or what the agent says of it where that is more. Otherwise the object is the one that `parseJsonObject`
 * gives, whose rules hold; but text and base64 of a stream which are both there and together longer than `limit` are
 * kept as base64 alone, for that says it all. The error is a reason that quotes nothing.
 */
export function boundedAnswer(limit: number): BoundedAnswer {
  // Halves that are whole groups of base64.
  const room = Math.floor(limit / 8) * 8;
  const rest = new Uint8Array(maxAnswerBesidesOutput);
  let restLength = 0;
  const kept = new Map<Member, LongString>();
  let failed: string | undefined;

  let depth = 0;
  let inString = false;
  let escaped = false;
  let nameExpected = false;
  let nameAt = -1;
  let name: Member | undefined;
  /** The colon after `name` was the last thing that came. */
  let valueNext = false;
  let current: LongString | undefined;

  const fail = (reason: string) => {
    failed ??= reason;
    kept.clear();
    return err(failed);
  };

  const readName = (): Member | undefined => {
    const literal = decodeUtf8(rest.subarray(nameAt, restLength));
    if (literal === undefined || literal.length > 100) return undefined;
    try {
      return memberNamed(JSON.parse(literal));
    } catch {
      return undefined;
    }
  };

  const structure = (byte: number) => {
    if (byte === brace || byte === bracket) {
      depth += 1;
      nameExpected = depth === 1 && byte === brace;
    } else if (byte === braceEnd || byte === bracketEnd) depth -= 1;
    else if (byte === comma) nameExpected = depth === 1;
    const after = byte === colon && depth === 1;
    valueNext = after || (valueNext && (byte === blank || (byte >= 0x09 && byte <= 0x0d)));
  };

  /** Where both the text and the base64 of a stream are too large together, the text goes. */
  const makeRoom = (stream: Stream) => {
    const [text, bytes] = [kept.get(stream), kept.get(`${stream}_base64`)];
    if (text && bytes && text.held() + bytes.held() > room) text.drop();
  };

  const takeRest = (byte: number): boolean => {
    if (restLength === rest.length) return false;
    rest[restLength++] = byte;
    if (inString) {
      if (escaped) escaped = false;
      else if (byte === backslash) escaped = true;
      else if (byte === quote) {
        inString = false;
        if (nameAt >= 0) name = readName();
        nameAt = -1;
      }
    } else if (byte === quote) {
      if (valueNext && name) {
        current = longString(room);
        kept.set(name, current);
      } else {
        inString = true;
        nameAt = nameExpected ? restLength - 1 : -1;
      }
      nameExpected = false;
      valueNext = false;
    } else structure(byte);
    return true;
  };

  /** What was kept of a stream, and its size in bytes if that is less than all. */
  const streamOf = (stream: Stream): Result<{ members: Record<string, string>; size?: number }, string> => {
    const [text, bytes] = [kept.get(stream), kept.get(`${stream}_base64`)];
    const members: Record<string, string> = {};
    if (text) members[stream] = text.text();
    if (bytes) members[`${stream}_base64`] = bytes.text();
    if (bytes?.isCut()) {
      const total = bytes.total();
      if (total % 4 !== 0) return err('its output is no base64');
      return ok({ members, size: decodedSize(total, members[`${stream}_base64`] ?? '') });
    }
    return ok({ members, ...(text?.isCut() && !bytes && { size: text.total() }) });
  };

  return {
    add(piece) {
      if (failed !== undefined) return err(failed);
      for (let at = 0; at < piece.length; at++) {
        if (current) {
          const end = current.take(piece, at);
          if (typeof end === 'string') return fail(end);
          for (const stream of streams) makeRoom(stream);
          if (end === piece.length) break;
          current = undefined;
          inString = true;
          at = end;
        }
        if (!takeRest(piece[at] ?? 0))
          return fail(`more than ${maxAnswerBesidesOutput} bytes besides the output`);
      }
      return ok(undefined);
    },
    end() {
      if (failed !== undefined) return err(failed);
      if (current) return fail(notJson);
      return parseJsonObject(rest.subarray(0, restLength)).andThen((body) => {
        const whole = { ...body };
        const cut: Record<string, number> = {};
        const said = body['truncated'];
        for (const stream of streams) {
          const read = streamOf(stream);
          if (read.isErr()) return err(read.error);
          Object.assign(whole, read.value.members);
          const claimed: unknown = typeof said === 'object' && said !== null ? Reflect.get(said, stream) : 0;
          if (read.value.size !== undefined)
            cut[stream] = Math.max(read.value.size, Number.isSafeInteger(claimed) ? Number(claimed) : 0);
        }
        if (Object.keys(cut).length > 0)
          whole['truncated'] = { ...(typeof said === 'object' ? said : {}), ...cut };
        return ok(whole);
      });
    },
  };
}
