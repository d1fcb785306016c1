import type { AgentRunKey } from '../../../ports/agent-runs.js';
import { digestOf } from '../digest.js';

/** A run without its answer; `key` as `runKey` gives it. */
export interface StoredRun {
  readonly script: string;
  readonly startedAt: number;
  readonly state: 'running' | 'lost' | 'done';
  /** Milliseconds until it was done; 0 before. */
  readonly lasted: number;
  /** Length of the answer; -1 where none is kept. */
  readonly bytes: number;
}

const FORMAT = 1;
const MAX_NAMES = 4096;

/** 16 bytes, one character each; what callers choose reaches neither memory nor a file name. */
export const runKey = ({ owner, reqid }: AgentRunKey): string => digestOf(owner, reqid);

export const encodeRun = (key: string, run: StoredRun): Uint8Array =>
  encode(['run', keyText(key), run.script, run.startedAt, run.state, run.lasted, run.bytes]);

export const encodePurge = (startedBefore: number): Uint8Array => encode(['purge', startedBefore]);

const encodeFormat = (): Uint8Array => encode(['format', FORMAT]);

const encode = (record: readonly unknown[]): Uint8Array => Buffer.from(JSON.stringify(record));

const keyText = (key: string): string => Buffer.from(key, 'latin1').toString('base64url');

/** What an agent remembers of its runs, in the order in which they began. */
export interface RunTable {
  readonly runs: Map<string, StoredRun>;
  /** Sets what is known of a run; one name of a script is kept once. */
  set(key: string, run: StoredRun): void;
  /** The runs that a purge takes. */
  ended(startedBefore: number): readonly string[];
  /** Applies a record of the journal, once or repeatedly. */
  apply(record: Buffer): 'applied' | 'unknown' | 'newer format';
  /** The records that make this table. */
  records(): Iterable<Uint8Array>;
}

export function runTable(): RunTable {
  const runs = new Map<string, StoredRun>();
  const names = new Map<string, string>();

  const named = (script: string): string => {
    const known = names.get(script);
    if (known !== undefined) return known;
    if (names.size >= MAX_NAMES) names.clear();
    names.set(script, script);
    return script;
  };

  const set = (key: string, { script, startedAt, state, lasted, bytes }: StoredRun) => {
    runs.set(key, { script: named(script), startedAt, state, lasted, bytes });
  };

  const ended = (startedBefore: number) => {
    const found: string[] = [];
    for (const [key, run] of runs) {
      if (run.state !== 'running' && run.startedAt < startedBefore) found.push(key);
    }
    return found;
  };

  return {
    runs,
    set,
    ended,
    apply(record) {
      const found = parse(record);
      const [kind, first] = found;
      if (kind === 'format') return first === FORMAT ? 'applied' : 'newer format';
      if (kind === 'purge' && typeof first === 'number') {
        for (const key of ended(first)) runs.delete(key);
        return 'applied';
      }
      const run = kind === 'run' ? parseRun(found) : undefined;
      if (run === undefined) return 'unknown';
      set(run.key, run);
      return 'applied';
    },
    *records() {
      yield encodeFormat();
      for (const [key, run] of runs) yield encodeRun(key, run);
    },
  };
}

function parse(record: Buffer): readonly unknown[] {
  try {
    const found: unknown = JSON.parse(record.toString());
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

function parseRun(record: readonly unknown[]): (StoredRun & { readonly key: string }) | undefined {
  const [, key, script, startedAt, state, lasted, bytes] = record;
  if (typeof key !== 'string' || typeof script !== 'string' || typeof startedAt !== 'number')
    return undefined;
  if (typeof lasted !== 'number' || typeof bytes !== 'number') return undefined;
  if (state !== 'running' && state !== 'lost' && state !== 'done') return undefined;
  const digest = Buffer.from(key, 'base64url').toString('latin1');
  return { key: digest, script, startedAt, state, lasted, bytes };
}
