import { err, Result } from 'neverthrow';
import { base64url, lengthPrefixed } from '../core/bytes.js';
import { binary, decodeObject, integer, matching, optional, text, yes } from '../core/decode.js';

/**
 * One step of a dispatcher's identity to its next one (wire-protocol 2.4), signed by the key of the old one: whoever
 * trusted that key can follow.
 */
export interface Succession {
  /** Canonical serials. */
  readonly old: string;
  readonly new: string;
  /** The certificate of the new serial, PEM. */
  readonly newPem: string;
  /** Epoch seconds. */
  readonly at: number;
  /**
   * A further instance of the same dispatcher: the new serial comes beside the old one, and has no right to remove it.
   * Undefined: it replaces the old one.
   */
  readonly joins?: true;
  /** Over `successionMessage`, by the key of `old`; encoded as signatures of 2.3. */
  readonly sig: Uint8Array;
}

/** Steps that a chain may have. An agent that is away for a year misses two or three. */
export const maxChain = 32;

/** What the old key signs. @param newDer the new certificate */
export const successionMessage = (
  { old, new: next, at, joins }: Pick<Succession, 'old' | 'new' | 'at' | 'joins'>,
  newDer: Uint8Array,
): Uint8Array =>
  lengthPrefixed('ctrl-exec succession v2', old, next, newDer, String(at), ...(joins ? ['joins'] : []));

export const successionToJson = ({ old, new: next, newPem, at, joins, sig }: Succession) => ({
  old,
  new: next,
  new_pem: newPem,
  at,
  ...(joins && { joins }),
  sig: base64url(sig),
});

const serial = matching(/^[1-9a-f][0-9a-f]{0,63}$/, 'a serial in lower-case hex');
const shape = {
  old: serial,
  new: serial,
  new_pem: text(16 * 1024),
  at: integer(0, Number.MAX_SAFE_INTEGER),
  joins: optional(yes),
  sig: binary(),
};

/** Reads records as they travel and are kept; an unknown member or more than `limit` of them is the error text. */
export function readSuccessions(value: unknown, limit = maxChain): Result<readonly Succession[], string> {
  if (!Array.isArray(value) || value.length > limit)
    return err(`"succession" is not a list of at most ${limit} records`);
  const read = (entry: unknown) =>
    decodeObject(entry, shape).map(({ new_pem: newPem, ...rest }) => ({ ...rest, newPem }));
  return Result.combine(value.map(read)).mapErr((why) => `"succession": ${why}`);
}

/** Every step that leads to `to`, oldest first, as far back as a chain may go. */
export function lineTo(records: readonly Succession[], to: string): readonly Succession[] {
  const line: Succession[] = [];
  for (let wanted: string | undefined = to; wanted !== undefined && line.length < maxChain; ) {
    const step = records.find((record) => record.new === wanted);
    if (step) line.unshift(step);
    wanted = step?.old;
  }
  return line;
}

/**
 * The unbroken chain from one of these serials to `to`, oldest first, the shortest that there is; undefined without one.
 * A serial that is already there needs no step: the empty chain.
 */
export function chainTo(
  records: readonly Succession[],
  from: ReadonlySet<string>,
  to: string,
): readonly Succession[] | undefined {
  if (from.has(to)) return [];
  const line = lineTo(records, to);
  const first = line.findLastIndex(({ old }) => from.has(old));
  return first < 0 ? undefined : line.slice(first);
}
