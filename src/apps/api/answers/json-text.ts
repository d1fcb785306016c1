/** Characters of a piece, if more follow. What is made at once is not much longer, but for members deeper than `levels`. */
const pieceLength = 1024 * 1024;

/** So deep it is gone through: the members of an answer, the entries of its lists and maps, and the members of those. */
const levels = 3;

/** Of a text; where it is cut, the halves of a surrogate pair stay together. Escaped, a character may become six. */
function* textParts(text: string): Generator<string> {
  yield '"';
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + pieceLength / 4, text.length);
    if (/[\ud800-\udbff]/.test(text.charAt(end - 1)) && end < text.length) end += 1;
    yield JSON.stringify(text.slice(start, end)).slice(1, -1);
    start = end;
  }
  yield '"';
}

function* parts(value: unknown, level: number): Generator<string> {
  if (typeof value === 'string' && value.length > pieceLength / 4) {
    yield* textParts(value);
    return;
  }
  if (level === 0 || typeof value !== 'object' || value === null) {
    yield JSON.stringify(value) ?? 'null';
    return;
  }
  const isList = Array.isArray(value);
  let between = isList ? '[' : '{';
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined && !isList) continue;
    yield isList ? between : `${between}${JSON.stringify(name)}:`;
    yield* parts(member, level - 1);
    between = ',';
  }
  if (between !== ',') yield between;
  yield isList ? ']' : '}';
}

/**
 * A value as JSON, in pieces of about 1 MiB: results of many hosts together can be longer than the longest text of V8, 512 Mi
 * characters.
 */
export function* jsonPieces(value: unknown): Generator<string> {
  let piece = '';
  for (const part of parts(value, levels)) {
    if (piece.length + part.length > pieceLength && piece !== '') {
      yield piece;
      piece = '';
    }
    piece += part;
  }
  yield piece;
}
