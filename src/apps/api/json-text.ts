/** Characters of a piece, if more follow. Also of the longest text that is made at once, as far as members are no longer. */
const pieceLength = 4 * 1024 * 1024;

/** What belongs together at one level, so deep: the members of an answer, and the entries of its lists and maps. */
const levels = 2;

function* parts(value: unknown, level: number): Generator<string> {
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
 * A value as JSON, in pieces of some MiB: results of many hosts together can be longer than the longest text of V8, 512 Mi
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
