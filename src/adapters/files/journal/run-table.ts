import type { AgentRunKey } from '../../../ports/run-journal.js';
import { digestOf } from '../digest.js';
import { type JournalRecord, keyOfText, keyText } from './records.js';

/** A run without its result, or a void; `key` as `runKey` gives it. */
export interface StoredRun {
  /** Empty: of a void. */
  readonly script: string;
  /** As `ownerOf` gives it; empty where an older version wrote it. */
  readonly owner: string;
  readonly startedAt: number;
  /** When it was entered, on the clock since boot. */
  readonly enteredAt: number;
  readonly state: 'running' | 'lost' | 'done' | 'void';
  /** Milliseconds until it was done; 0 before. */
  readonly lasted: number;
  /** Bytes of the result; -1 where none is kept. */
  readonly bytes: number;
}

const MAX_NAMES = 4096;

/** 16 bytes, one character each; what callers choose reaches neither memory nor a file name. */
export const runKey = ({ owner, reqid }: AgentRunKey): string => digestOf(owner, reqid);

export const ownerOf = ({ owner }: Pick<AgentRunKey, 'owner'>): string => digestOf(owner);

export const recordOf = (key: string, run: StoredRun): JournalRecord => {
  const { script, startedAt, state, lasted, bytes, owner, enteredAt } = run;
  return ['run', keyText(key), script, startedAt, state, lasted, bytes, keyText(owner), enteredAt];
};

/** How many ids an owner has in a table. */
interface Share {
  readonly ids: number;
  readonly voids: number;
}

const none: Share = { ids: 0, voids: 0 };

/** What an agent remembers of its runs, in the order in which they began. */
export interface RunTable {
  readonly runs: ReadonlyMap<string, StoredRun>;
  /** Sets what is known of a run; one name of a script is kept once. Returns what it keeps. */
  set(key: string, run: StoredRun): StoredRun;
  remove(key: string): void;
  share(owner: string): Share;
  /** The runs that a purge takes. */
  ended(startedBefore: number): readonly string[];
  /** The voids that were entered before this moment. */
  voided(enteredBefore: number): readonly string[];
  /** Forgets runs, and that they were claimed. */
  forget(keys: readonly string[]): void;
  /** Since when all that this owner claimed is known, on the clock since boot; undefined: that is not known either. */
  since(owner: string): number | undefined;
  /** The boot that the times are of, as far as records of it were applied. */
  boot(): string | undefined;
  /** Begins the times of this boot: what is known was entered now, and what was claimed before may be lost. */
  restart(boot: string | undefined, now: number): void;
  /** Applies a record of the journal, once or repeatedly; whether it is one of runs. */
  apply(record: JournalRecord): boolean;
  /** The records that make this table. */
  records(): Iterable<JournalRecord>;
}

export function runTable(): RunTable {
  const runs = new Map<string, StoredRun>();
  const names = new Map<string, string>();
  const shares = new Map<string, Share>();
  /** By owner; empty: of all. */
  const since = new Map<string, number>();
  let ofBoot: string | undefined;

  const named = (script: string): string => {
    const known = names.get(script);
    if (known !== undefined) return known;
    if (names.size >= MAX_NAMES) names.clear();
    names.set(script, script);
    return script;
  };

  const count = ({ owner, state }: StoredRun, by: 1 | -1) => {
    const { ids, voids } = shares.get(owner) ?? none;
    const share = { ids: ids + by, voids: voids + (state === 'void' ? by : 0) };
    if (share.ids > 0) shares.set(owner, share);
    else shares.delete(owner);
  };

  const remove = (key: string) => {
    const run = runs.get(key);
    if (run !== undefined) count(run, -1);
    runs.delete(key);
  };

  const set = (key: string, run: StoredRun) => {
    const { script, owner, startedAt, enteredAt, state, lasted, bytes } = run;
    const kept = { script: named(script), owner: named(owner), startedAt, enteredAt, state, lasted, bytes };
    const before = runs.get(key);
    if (before !== undefined) count(before, -1);
    count(kept, 1);
    runs.set(key, kept);
    return kept;
  };

  const complete = (owner: string, at: number) => {
    since.set(owner, Math.max(since.get(owner) ?? at, at));
  };

  const forget = (keys: readonly string[]) => {
    for (const key of keys) {
      const run = runs.get(key);
      if (run === undefined) continue;
      // defence: forgotten-claim-is-no-proof
      if (run.state !== 'void') complete(run.owner, run.enteredAt);
      remove(key);
    }
  };

  const ended = (startedBefore: number) => {
    const found: string[] = [];
    for (const [key, run] of runs) {
      if (run.state !== 'running' && run.state !== 'void' && run.startedAt < startedBefore) found.push(key);
    }
    return found;
  };

  const voided = (enteredBefore: number) => {
    const found: string[] = [];
    for (const [key, run] of runs) if (run.state === 'void' && run.enteredAt < enteredBefore) found.push(key);
    return found;
  };

  return {
    runs,
    set,
    remove,
    share: (owner) => shares.get(owner) ?? none,
    ended,
    voided,
    forget,
    since: (owner) => {
      const all = since.get('');
      return all === undefined ? undefined : Math.max(all, since.get(owner) ?? all);
    },
    boot: () => ofBoot,
    restart(boot, now) {
      ofBoot = boot;
      since.clear();
      since.set('', now);
      for (const [key, run] of runs) set(key, { ...run, enteredAt: now });
    },
    apply(record) {
      const [kind, first, second] = record;
      if (kind === 'purge' && typeof first === 'number') forget(ended(first));
      else if (kind === 'boot' && typeof first === 'string') ofBoot = first;
      else if (kind === 'since' && typeof first === 'string' && typeof second === 'number')
        complete(keyOfText(first), second);
      else {
        const run = kind === 'run' ? parseRun(record) : undefined;
        if (run === undefined) return false;
        set(run.key, run);
      }
      return true;
    },
    *records() {
      yield ['boot', ofBoot ?? ''];
      for (const [key, run] of runs) yield recordOf(key, run);
      // At the end: what was forgotten meanwhile is counted.
      for (const [owner, at] of since) yield ['since', keyText(owner), at];
    },
  };
}

function parseRun(record: JournalRecord): (StoredRun & { readonly key: string }) | undefined {
  const [, key, script, startedAt, state, lasted, bytes, owner = '', enteredAt = 0] = record;
  if (typeof key !== 'string' || typeof script !== 'string' || typeof startedAt !== 'number')
    return undefined;
  if (typeof lasted !== 'number' || typeof bytes !== 'number') return undefined;
  if (typeof owner !== 'string' || typeof enteredAt !== 'number') return undefined;
  if (state !== 'running' && state !== 'lost' && state !== 'done' && state !== 'void') return undefined;
  return {
    key: keyOfText(key),
    script,
    owner: keyOfText(owner),
    startedAt,
    enteredAt,
    state,
    lasted,
    bytes,
  };
}
