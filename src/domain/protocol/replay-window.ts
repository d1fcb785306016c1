/** Times in whole seconds of the epoch, both ends included. */
export type SecondRange = readonly [from: number, to: number];

/** Gaps up to this are closed; no signed request lives longer (wire-protocol 2.3). */
const slack = 360;
const maxRanges = 32;
/** Entries that are cleared away by each further one, so that nothing has to clear many at once. */
const clearedAtOnce = 64;

/** What was seen. */
interface SeenDigest {
  readonly digest: string;
  /** Who has to do with it: nobody may fill the window alone. Undefined: it counts for nobody. */
  readonly owner: string | undefined;
}

/**
 * Which digests were seen, each until its own time, which counts in whole seconds, rounded up.
 *
 * A clock that is set back must not make a request acceptable whose entry was forgotten. So what is forgotten leaves its
 * time behind, `spent`: whatever ends at such a time is taken for a repetition. Only times that entries had are spent,
 * with gaps closed up to six minutes. A clock that was wrongly ahead therefore keeps nobody out after it was corrected:
 * what was entered before may be forgotten too early, which spends six minutes at most, and what was entered while it
 * was ahead has its times there, out of the way until that time really comes. Beyond 32 ranges the earliest two
 * become one.
 */
export interface ReplayWindow {
  /**
   * `replayed` also for what has ended before `now`. `full`: all places are taken, or a quarter of them by this owner.
   * Milliseconds.
   */
  enter(entry: SeenDigest, until: number, now: number): 'fresh' | 'replayed' | 'full';
  /** Takes over what was entered elsewhere; `second` as `secondOf(until)`. Capacity does not count here. */
  restore(entry: SeenDigest, second: number): void;
  /** Forgets what ended before `now`, in milliseconds. */
  forget(now: number): void;
  spend(range: SecondRange): void;
  spent(): readonly SecondRange[];
  /** How many are not forgotten. */
  live(): number;
  /** What is not forgotten, with its second, as it is by the time that it is read. */
  entries(): Iterable<SeenDigest & { readonly second: number }>;
}

/** The second by which something that is accepted until this moment has ended. */
export const secondOf = (milliseconds: number): number => Math.ceil(milliseconds / 1000);

export function replayWindow(capacity: number): ReplayWindow {
  let seen = new Map<string, number>();
  let expired: { readonly second: number; readonly digests: string[] }[] = [];
  const bySecond = new Map<number, SeenDigest[]>();
  const share = Math.max(1, Math.floor(capacity / 4));
  const owned = new Map<string, number>();
  let earliest = Number.POSITIVE_INFINITY;
  let live = 0;
  let spent: SecondRange[] = [];

  const isSpent = (second: number) => spent.some(([from, to]) => from <= second && second <= to);

  const isLive = (second: number | undefined) => second !== undefined && bySecond.has(second);

  const clearSome = () => {
    for (let left = clearedAtOnce; left > 0; left -= 1) {
      const last = expired.at(-1);
      const digest = last?.digests.pop();
      if (last === undefined) return;
      if (digest === undefined) expired.pop();
      else if (seen.get(digest) === last.second) seen.delete(digest);
    }
  };

  const count = (owner: string | undefined, change: 1 | -1) => {
    if (owner === undefined) return;
    const number = (owned.get(owner) ?? 0) + change;
    if (number > 0) owned.set(owner, number);
    else owned.delete(owner);
  };

  const hasItsShare = ({ owner }: SeenDigest) => owner !== undefined && (owned.get(owner) ?? 0) >= share;

  const forget = (now: number) => {
    if (earliest * 1000 >= now) return;
    earliest = Number.POSITIVE_INFINITY;
    for (const [second, digests] of bySecond) {
      if (second * 1000 >= now) earliest = Math.min(earliest, second);
      else {
        bySecond.delete(second);
        expired.push({ second, digests: digests.map(({ digest }) => digest) });
        spent = joined(spent, [second, second]);
        live -= digests.length;
        for (const { owner } of digests) count(owner, -1);
      }
    }
    if (live === 0) {
      seen = new Map();
      expired = [];
    }
  };

  const add = (entry: SeenDigest, second: number) => {
    seen.set(entry.digest, second);
    const entries = bySecond.get(second);
    if (entries === undefined) bySecond.set(second, [entry]);
    else entries.push(entry);
    earliest = Math.min(earliest, second);
    live += 1;
    count(entry.owner, 1);
  };

  return {
    enter(entry, until, now) {
      forget(now);
      clearSome();
      const second = secondOf(until);
      if (
        !(until >= now) ||
        /* defence: replay-sees-live-requests */ isLive(seen.get(entry.digest)) ||
        /* defence: forgotten-times-stay-spent */ isSpent(second)
      )
        return 'replayed';
      if (live >= capacity || /* defence: record-is-shared */ hasItsShare(entry)) return 'full';
      add(entry, second);
      return 'fresh';
    },
    restore(entry, second) {
      const known = seen.get(entry.digest);
      // The place under an earlier second is left to run out.
      if (known === undefined || known < second || !isLive(known)) add(entry, second);
    },
    forget,
    spend: (range) => {
      spent = joined(spent, range);
    },
    spent: () => spent,
    live: () => live,
    *entries() {
      for (const [second, digests] of bySecond) for (const each of digests) yield { ...each, second };
    },
  };
}

function joined(ranges: readonly SecondRange[], added: SecondRange): SecondRange[] {
  const result: [number, number][] = [];
  for (const [from, to] of [...ranges, added].sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1);
    if (last !== undefined && from - last[1] <= slack) last[1] = Math.max(last[1], to);
    else result.push([from, to]);
  }
  const [first, second, ...rest] = result;
  if (result.length <= maxRanges || first === undefined || second === undefined) return result;
  return [[first[0], second[1]], ...rest];
}
