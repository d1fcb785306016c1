import { replayWindow, type SecondRange, secondOf } from '../../../domain/protocol/replay-window.js';
import type { ClaimedNonce } from '../../../ports/run-journal.js';
import { digestOf } from '../digest.js';
import { isWhole, type JournalRecord, keyOfText, keyText } from './records.js';

/** Milliseconds from the acceptance of a request until nobody would accept it any more (wire-protocol 2.3). */
const longestLife = (30 + 300 + 30) * 1000;
const ownerBytes = 8;

/**
 * The nonces of a journal.
 *
 * `complete` after a loss. No request accepted before may be accepted after it. What was lost was accepted before the
 * journal was found to be incomplete, at `lossAt`, by a clock that may be 30 s behind the sender's; so it was made at
 * `lossAt` + 30 s at the latest, and nobody accepts it after `lossAt` + 30 s + 300 s + 30 s. The caller refuses what was made before
 * its own start + 30 s. That is enough for the process that finds the loss, and for the next one, as its start is
 * later. So `lossAt` stays in the journal and `complete` stays false, over any number of restarts, until 360 s after it; then
 * there is nothing left of what was lost.
 *
 * A clock that is wrong. What was forgotten leaves its time behind, in the journal too (see replay-window.ts): setting the clock
 * back makes nothing acceptable again, and a clock that was ahead keeps nobody out for more than six minutes after it was
 * corrected, except at the very times that requests used while it was. When a process begins before `lossAt`, the
 * clock was set back; the six minutes from `lossAt` on are then spent, and the loss counts from now on.
 */
export interface Nonces {
  /** What became of a nonce, and what is to be recorded of one that is fresh. */
  enter(nonce: ClaimedNonce, now: number): JournalRecord | 'replayed' | 'full';
  complete(now: number): boolean;
  /** @param known the journal is of this boot, and whole */
  resume(known: boolean, now: number): void;
  /** Forgets all, and is complete. */
  begin(): JournalRecord;
  /** Nonces that are not forgotten. */
  live(): number;
  /** Applies a record of the journal, once or repeatedly; whether it is one of nonces. */
  apply(record: JournalRecord): boolean;
  /** The records that make this table. */
  records(): Iterable<JournalRecord>;
}

export function nonceTable(capacity: number): Nonces {
  let seen = replayWindow(capacity);
  let lossAt: number | undefined;

  const lifeFrom = (at: number): SecondRange => [Math.floor(at / 1000), secondOf(at + longestLife)];

  const entry = (digest: string, second: number, owner: string | undefined): JournalRecord => [
    'nonce',
    keyText(digest),
    second,
    keyText(owner ?? ''),
  ];

  const begin = (): JournalRecord => {
    seen = replayWindow(capacity);
    lossAt = undefined;
    return ['begin'];
  };

  const applied: Readonly<Record<string, (...fields: readonly unknown[]) => boolean>> = {
    begin: () => begin().length > 0,
    nonce(digest, second, owner) {
      if (typeof digest !== 'string' || !isWhole(second) || typeof owner !== 'string') return false;
      // defence: replays-survive-restart
      seen.restore({ digest: keyOfText(digest), owner: keyOfText(owner) || undefined }, second);
      return true;
    },
    spent(from, to) {
      if (!isWhole(from) || !isWhole(to)) return false;
      seen.spend([from, to]);
      return true;
    },
    loss(at) {
      if (!isWhole(at)) return false;
      lossAt = at;
      return true;
    },
  };

  return {
    enter({ keyid, nonce, until }, now) {
      const [digest, owner] = [digestOf(keyid, nonce), digestOf(keyid).slice(0, ownerBytes)];
      const verdict = seen.enter({ digest, owner }, until, now);
      return verdict === 'fresh' ? entry(digest, secondOf(until), owner) : verdict;
    },
    complete(now) {
      // What was lost has ended, once `now` is past the life of the last of it.
      if (lossAt !== undefined && now > lossAt + longestLife) {
        seen.spend(lifeFrom(lossAt));
        lossAt = undefined;
      }
      return lossAt === undefined;
    },
    resume(known, now) {
      if (lossAt !== undefined && (now < lossAt || now > lossAt + longestLife)) {
        seen.spend(lifeFrom(lossAt));
        lossAt = now < lossAt ? now : undefined;
      }
      if (!known) lossAt = now;
      seen.forget(now);
    },
    begin,
    live: () => seen.live(),
    apply: ([kind, ...fields]) => applied[String(kind)]?.(...fields) ?? false,
    *records() {
      for (const { digest, owner, second } of seen.entries()) yield entry(digest, second, owner);
      // At the end: what was forgotten meanwhile is counted.
      for (const [from, to] of seen.spent()) yield ['spent', from, to];
      if (lossAt !== undefined) yield ['loss', lossAt];
    },
  };
}
