/** At most `limit` within `window` seconds; who exceeds it is blocked for `block` seconds. */
export interface RateLimit {
  readonly limit: number;
  readonly window: number;
  readonly block: number;
}

/** `volume`: connections that came to nothing; `probe`: those among them whose handshake failed. */
export type LimitKind = 'volume' | 'probe';

export type Limits = Readonly<Record<LimitKind, RateLimit>>;

/** A source went beyond a limit and is blocked from now on. */
interface Blocked {
  readonly source: string;
  readonly kind: LimitKind;
  /** How long. */
  readonly seconds: number;
}

/** A block that has ended, and how many connections it met. */
interface Ended {
  readonly source: string;
  readonly kind: LimitKind;
  readonly met: number;
}

/**
 * Counts what sources do wrong, and who is blocked for it. Times are milliseconds of a clock that never goes back.
 *
 * Memory is bounded whatever comes. Of the sources that are only counted, the one that was quiet for longest is forgotten
 * for a new one. A block is never forgotten before its end; once there are as many as fit, nobody else is blocked.
 */
export interface SourceLimits {
  /** Counts one more of these kinds. The block, if that begins one. Sources that are blocked are not counted. */
  count(source: string, kinds: readonly LimitKind[], limits: Limits, now: number): Blocked | undefined;
  isBlocked(source: string, now: number): boolean;
  /** Milliseconds for which a source is still blocked; 0: it is not. */
  blockedFor(source: string, now: number): number;
  /** Somebody came whose source is blocked: told when the block ends. */
  met(source: string): void;
  /** Takes out the blocks that have ended. */
  takeEnded(now: number): readonly Ended[];
  /** When the next block ends; undefined: there is none. */
  nextEnd(): number | undefined;
  /** How many sources are remembered, counted and blocked ones together. */
  size(): number;
}

interface Block {
  readonly kind: LimitKind;
  readonly until: number;
  met: number;
}

interface Count {
  readonly count: number;
  readonly windowStart: number;
}

type Counts = Readonly<Partial<Record<LimitKind, Count>>>;

/** @param capacity so many sources are counted, and as many blocked */
export function sourceLimits(capacity: number): SourceLimits {
  /** The one that was counted last comes last. */
  const counted = new Map<string, Counts>();
  const blocks = new Map<string, Block>();

  const blockedFor = (source: string, now: number) => Math.max(0, (blocks.get(source)?.until ?? now) - now);
  const isBlocked = (source: string, now: number) => blockedFor(source, now) > 0;

  const remember = (source: string, counts: Counts) => {
    counted.delete(source);
    counted.set(source, counts);
    if (counted.size <= capacity) return;
    for (const quietest of counted.keys()) {
      counted.delete(quietest);
      return;
    }
  };

  return {
    count(source, kinds, limits, now) {
      if (isBlocked(source, now)) return undefined;
      const counts: Partial<Record<LimitKind, Count>> = { ...counted.get(source) };
      for (const kind of kinds) {
        const { limit, window, block: seconds } = limits[kind];
        const before = counts[kind];
        const windowStart = before && now < before.windowStart + window * 1000 ? before.windowStart : now;
        const count = 1 + (before?.windowStart === windowStart ? before.count : 0);
        if (count > limit && (blocks.size < capacity || blocks.has(source))) {
          counted.delete(source);
          blocks.set(source, { kind, until: now + seconds * 1000, met: 0 });
          return { source, kind, seconds };
        }
        counts[kind] = { count, windowStart };
      }
      remember(source, counts);
      return undefined;
    },
    isBlocked,
    blockedFor,
    met(source) {
      const block = blocks.get(source);
      if (block) block.met += 1;
    },
    takeEnded(now) {
      const ended: Ended[] = [];
      for (const [source, { kind, until, met }] of blocks) {
        if (until > now) continue;
        blocks.delete(source);
        ended.push({ source, kind, met });
      }
      return ended;
    },
    nextEnd() {
      let next: number | undefined;
      for (const { until } of blocks.values()) next = Math.min(until, next ?? until);
      return next;
    },
    size: () => counted.size + blocks.size,
  };
}
