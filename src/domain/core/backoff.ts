/** How long to wait between attempts: from `first` to `last` milliseconds. */
export interface Backoff {
  readonly first: number;
  readonly last: number;
  /** By what each wait is multiplied to give the next; `steady`: each one is longer by `first`. */
  readonly growth: number | 'steady';
}

/** Milliseconds to wait after so many attempts; 0: after the first one. */
export const backoff = (attempt: number, { first, last, growth }: Backoff): number =>
  // A power beyond the largest number would make a wait of 0 none at all.
  Math.min(last, first * (growth === 'steady' ? attempt + 1 : growth ** Math.min(attempt, 100)));

/**
 * A wait, shorter or longer by at most `spread` of it, so that many who wait for the same do not come together.
 * @param chance from 0 to just below 1
 */
export const jittered = (wait: number, spread: number, chance: number): number =>
  wait * (1 - spread + 2 * spread * chance);
