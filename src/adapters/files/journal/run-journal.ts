import { join } from 'node:path';
import { err, errAsync, ok, okAsync, ResultAsync } from 'neverthrow';
import { type RunResult, writeRunResult } from '../../../domain/protocol/run-messages.js';
import {
  agentRunCapacity,
  type ClaimedRun,
  nonceCapacity,
  type RunJournal,
  voidCapacity,
  voidLife,
} from '../../../ports/run-journal.js';
import { unless } from '../../shared/system-code.js';
import { removeAbandoned } from '../../shared/temporary.js';
import { ensureDirectory } from '../atomic-write.js';
import { holdLock, type Release } from '../held-lock.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import { sinceBoot, systemBootId } from './boot.js';
import { type FormerReplays, readFormerReplays } from './former-replays.js';
import { readFrames } from './frames.js';
import { createJournal, type Journal } from './journal.js';
import { type Nonces, nonceTable } from './nonces.js';
import { decode, encode, format, type JournalRecord } from './records.js';
import { openRunResults, type RunResults } from './run-results.js';
import { ownerOf, type RunTable, recordOf, runKey, runTable, type StoredRun } from './run-table.js';

const defaultResultBytes = 256 * 1024 * 1024;
const smallJournalFrames = 4096;

export interface FileRunJournalOptions {
  /** Made, 0700, when it is missing. */
  readonly directory: string;
  /** Where 0.1 kept its record of requests: it is taken over once, and removed. */
  readonly former: string;
  /** Live nonces. */
  readonly nonces?: number;
  /** Runs and voids. */
  readonly capacity?: number;
  /** Bytes of results in all. Default: 256 MiB. */
  readonly resultBytes?: number;
  /** Voids of one owner. Default: 8,192. */
  readonly voids?: number;
  /** What changes when the machine is started anew; undefined: cannot be known. Default: Linux' boot id. */
  readonly bootId?: () => string | undefined;
  /** Milliseconds on a clock that all processes of one boot share. */
  readonly monotonic?: () => number;
  /** Epoch milliseconds, for `complete`. */
  readonly now?: () => number;
}

/**
 * Keeps nonces and runs in memory and in a journal `runs.journal`, 0600, and each result in a file of its own in `answers`. A claim
 * is answered when it has been written, not synced: it survives the process, not always a power cut, of which the boot id tells. The
 * journal is written anew when it is opened, what was running is `lost` then, and when it holds more than twice what is known.
 * Of a journal that was damaged counts what comes before the damage.
 *
 * As nothing is synced, a boot may have lost claims of the time before it: what `settle` says is complete counts from when
 * the journal was first opened in this boot, or found damaged or missing. Times for that are of the clock since boot, which a
 * journal keeps for the next process.
 *
 * Opened by the first call, then held by the lock `runs.lock` until `close` or the end of the process; a second process
 * waits 5 s and fails with reason `ELOCKED`. But `begin` on a journal that is not open changes nothing while another process
 * holds it: that process knows all that it accepted. `end` of what is not running fails with reason `ENOENT`. When a result cannot be
 * written, `end` says so, and the run is `done` without one.
 */
export const fileRunJournal = (options: FileRunJournalOptions): RunJournal => {
  const { directory } = options;
  let opened: ResultAsync<OpenJournal, FileFailure> | undefined;
  let closed = false;

  const open = (patience?: number): ResultAsync<OpenJournal, FileFailure> => {
    if (closed) return errAsync(systemFailure(directory, 'write', 'EBADF', 'it was closed'));
    opened ??= ensureDirectory(directory, 0o700)
      .andThen(() => holdLock(join(directory, 'runs.lock'), patience))
      .andThen((release) => openJournal(options, release).orTee(release))
      .orTee(() => {
        opened = undefined;
      });
    return opened;
  };
  const close = async () => {
    const journal = await opened;
    if (journal?.isOk()) await journal.value.close();
  };

  return {
    complete: () => open().map((journal) => journal.complete()),
    begin: () => {
      if (opened !== undefined || closed) return open().andThen((journal) => journal.begin());
      return open(0)
        .andThen((journal) => journal.begin())
        .andThen(() => ResultAsync.fromSafePromise(close()))
        .andTee(() => {
          opened = undefined;
        })
        .orElse((error) => (error.reason === 'ELOCKED' ? okAsync(undefined) : errAsync(error)));
    },
    claim: (claim, now) => open().andThen((journal) => journal.claim(claim, now)),
    settle: (key) => open().andThen((journal) => journal.settle(key)),
    end: (key, finishedAt, result) => open().andThen((journal) => journal.end(key, finishedAt, result)),
    find: (key) => open().andThen((journal) => journal.find(key)),
    purge: (startedBefore) => open().andThen((journal) => journal.purge(startedBefore)),
    close: async () => {
      closed = true;
      await close();
    },
  };
};

type OpenJournal = Omit<RunJournal, 'complete'> & { complete(): boolean };

/** What the journal makes in memory. */
interface Tables {
  readonly runs: RunTable;
  readonly nonces: Nonces;
}

function* payloads({ runs, nonces }: Tables): Iterable<Uint8Array> {
  yield encode(['format', format]);
  for (const record of nonces.records()) yield encode(record);
  for (const record of runs.records()) yield encode(record);
}

type Limits = Required<Pick<FileRunJournalOptions, 'capacity' | 'voids' | 'monotonic' | 'now'>>;

function openJournal(
  options: FileRunJournalOptions,
  release: Release,
): ResultAsync<OpenJournal, FileFailure> {
  const { directory, resultBytes = defaultResultBytes, bootId = systemBootId } = options;
  const { capacity = agentRunCapacity, voids = voidCapacity } = options;
  const { monotonic = sinceBoot, now = Date.now } = options;
  const path = join(directory, 'runs.journal');
  const tables = { runs: runTable(), nonces: nonceTable(options.nonces ?? nonceCapacity) };
  const { runs, nonces } = tables;
  let former: FormerReplays | undefined;
  return attempt(path, 'read', async () => {
    await removeAbandoned(directory);
    const found = await load(path, tables);
    if (found.format < format) former = await readFormerReplays(options.former, nonces);
    return found;
  })
    .andThen((found) =>
      found.format > format
        ? err(systemFailure(path, 'read', 'EPROTO', 'it was written by a newer version'))
        : ok(found),
    )
    .andThen(({ whole }) => {
      const [boot, uptime, since] = [bootId(), monotonic(), runs.since('')];
      const isOf = (other: string | undefined) => boot !== undefined && boot === other;
      const replays = former ?? { whole, boot: runs.boot() };
      nonces.resume(/* defence: record-is-of-this-boot */ replays.whole && isOf(replays.boot), now());
      // defence: lost-claim-is-no-proof
      if (!whole || !isOf(runs.boot()) || since === undefined || since > uptime) runs.restart(boot, uptime);
      markLost(runs);
      return createJournal(path, payloads(tables));
    })
    .andThen((journal) =>
      ResultAsync.fromSafePromise(Promise.resolve(former?.remove()))
        .andThen(() =>
          openRunResults(join(directory, 'answers'), resultBytes, resultsOf(runs), (key) => {
            const run = runs.runs.get(key);
            if (run !== undefined) runs.set(key, { ...run, bytes: -1 });
          }),
        )
        .map((results) => running(journal, tables, results, { capacity, voids, monotonic, now }, release))
        .orTee(() => journal.close()),
    );
}

/** `whole`: it was there, and holds nothing that is not understood. Of a missing one the format is 0. */
async function load(
  path: string,
  { runs, nonces }: Tables,
): Promise<{ readonly whole: boolean; readonly format: number }> {
  let [isUnderstood, written] = [true, 0];
  const apply = (record: JournalRecord): boolean => {
    const [kind, ...parts] = record;
    if (kind === 'format' && typeof parts[0] === 'number') written = parts[0];
    else if (kind === 'all') return parts.every((part) => Array.isArray(part) && apply(part));
    else if (written > format) return false;
    else return runs.apply(record) || nonces.apply(record);
    return true;
  };
  const each = (payload: Buffer) => {
    isUnderstood = apply(decode(payload)) && isUnderstood;
  };
  // defence: runs-survive-restart
  const read = await unless(['ENOENT'], readFrames(path, each));
  return { whole: read?.intact === true && isUnderstood, format: written };
}

function markLost({ runs, set }: RunTable): void {
  for (const [key, run] of runs)
    if (run.state === 'running') /* defence: interrupted-run-is-lost */ set(key, { ...run, state: 'lost' });
}

function resultsOf({ runs }: RunTable): ReadonlyMap<string, number> {
  const found = [...runs].filter(([, run]) => run.bytes >= 0);
  found.sort(([, a], [, b]) => a.startedAt + a.lasted - (b.startedAt + b.lasted));
  return new Map(found.map(([key, { bytes }]) => [key, bytes]));
}

/** Read back as it was written; 0.1 wrote the whole body of its answer. Undefined: it is no result. */
function resultIn(bytes: Uint8Array | undefined): RunResult | undefined {
  if (bytes === undefined) return undefined;
  try {
    const { script: _, reqid: __, ...found } = JSON.parse(Buffer.from(bytes).toString());
    if (typeof found.exit !== 'number') return undefined;
    const { stdout = '', stderr = '', stdout_base64, stderr_base64, left_behind, ...others } = found;
    return {
      ...others,
      stdout,
      stderr,
      ...(stdout_base64 !== undefined && { stdoutBase64: stdout_base64 }),
      ...(stderr_base64 !== undefined && { stderrBase64: stderr_base64 }),
      ...(left_behind !== undefined && { leftBehind: left_behind }),
    };
  } catch {
    return undefined;
  }
}

function running(
  journal: Journal,
  tables: Tables,
  results: RunResults,
  { capacity, voids, monotonic, now }: Limits,
  release: Release,
): OpenJournal {
  const { runs: table, nonces } = tables;
  const { runs } = table;
  const ending = new Set<string>();
  let beginning: ResultAsync<void, never> | undefined;
  let rewriting: ResultAsync<void, FileFailure> = okAsync(undefined);
  /** Where the disk is full, trying again with every run would cost more than the room that it may win. */
  let notBelow = 0;

  const tidy = () => {
    const frames = journal.frames();
    if (frames <= 2 * (runs.size + nonces.live()) + smallJournalFrames || frames < notBelow) return;
    notBelow = frames + smallJournalFrames;
    rewriting = journal.rewrite(payloads(tables)).andTee(() => {
      notBelow = 0;
    });
  };

  const begun = async (key: string, { script, startedAt, lasted }: StoredRun, state: ClaimedRun['state']) =>
    state === 'done'
      ? {
          state,
          script,
          startedAt,
          finishedAt: startedAt + lasted,
          result: resultIn(await results.find(key)),
        }
      : { state, script, startedAt };

  const known = async (key: string, run: StoredRun) =>
    run.state === 'void' ? { state: run.state } : begun(key, run, run.state);

  const isFull = (owner: string) =>
    runs.size >= capacity || /* defence: half-of-ids-for-others */ table.share(owner).ids >= capacity / 2;

  const append = (...records: readonly JournalRecord[]): ResultAsync<void, FileFailure> => {
    const [first, ...others] = records;
    if (first === undefined) return okAsync(undefined);
    return journal.append(encode(others.length === 0 ? first : ['all', ...records]));
  };

  /** Written, together with what comes with it, or as it was before. */
  const enter = (
    key: string,
    run: Omit<StoredRun, 'enteredAt' | 'lasted' | 'bytes'>,
    ...others: readonly JournalRecord[]
  ): ResultAsync<void, FileFailure> => {
    const before = runs.get(key);
    const entered = table.set(key, { ...run, enteredAt: monotonic(), lasted: 0, bytes: -1 });
    return append(...others, recordOf(key, entered)).orTee(() => {
      if (runs.get(key) !== entered) return;
      if (before === undefined) table.remove(key);
      else table.set(key, before);
    });
  };

  const claim: OpenJournal['claim'] = (asked, at) => {
    // Judged by what there is then.
    if (beginning !== undefined) return beginning.andThen(() => claim(asked, at));
    const nonce = asked.nonce && nonces.enter(asked.nonce, at);
    if (nonce === 'replayed') return okAsync({ kind: nonce });
    if (nonce === 'full') return okAsync({ kind: nonce, of: 'requests' });
    const records = nonce ? [nonce] : [];
    tidy();
    if (asked.run === undefined) return append(...records).map(() => ({ kind: 'begun' }));
    const [key, owner] = [runKey(asked.run), ownerOf(asked.run)];
    const before = runs.get(key);
    if (before !== undefined)
      return append(...records)
        .andThen(() => ResultAsync.fromSafePromise(known(key, before)))
        .map((run) => ({ kind: 'known', run }));
    if (isFull(owner)) return append(...records).map(() => ({ kind: 'full', of: 'runs' }));
    const run = { script: asked.run.script, owner, startedAt: at, state: 'running' } as const;
    return enter(key, run, ...records).map(() => ({ kind: 'begun' }));
  };

  const settle: OpenJournal['settle'] = (of) => {
    const key = runKey(of);
    const before = runs.get(key);
    // defence: begun-run-is-not-void
    if (before !== undefined && before.state !== 'void')
      return ResultAsync.fromSafePromise(begun(key, before, before.state)).map((run) => ({
        kind: 'known',
        run,
      }));
    const owner = ownerOf(of);
    // defence: voids-are-limited
    if (before === undefined && (isFull(owner) || table.share(owner).voids >= voids))
      return okAsync({ kind: 'full' });
    return enter(key, { script: '', owner, startedAt: 0, state: 'void' }).map(() => {
      tidy();
      const uptime = monotonic();
      return { kind: 'void', completeFor: uptime - (table.since(owner) ?? uptime) };
    });
  };

  const end = async (key: string, run: StoredRun, finishedAt: number, result: RunResult | undefined) => {
    const bytes = result && Buffer.from(JSON.stringify(writeRunResult(result)));
    const kept = bytes ? await results.keep(key, bytes) : ok(false);
    const size = bytes && kept.isOk() && kept.value ? bytes.byteLength : -1;
    const done: StoredRun = { ...run, state: 'done', lasted: finishedAt - run.startedAt, bytes: size };
    table.set(key, done);
    const written = await append(recordOf(key, done));
    return written.andThen(() => kept.map(() => undefined));
  };

  return {
    complete: () => nonces.complete(now()),
    begin: () => {
      const begun = append(['begin']).map(() => void nonces.begin());
      beginning = begun
        .orElse(() => okAsync(undefined))
        .andTee(() => {
          beginning = undefined;
        });
      return beginning.andThen(() => begun);
    },
    claim,
    settle,
    end(of, finishedAt, result) {
      const key = runKey(of);
      const run = runs.get(key);
      if (run?.state !== 'running' || ending.has(key)) {
        return errAsync(systemFailure(journal.path, 'end', 'ENOENT', `no run ${of.reqid} is running`));
      }
      ending.add(key);
      const finish = () => {
        ending.delete(key);
        tidy();
      };
      return new ResultAsync(end(key, run, finishedAt, result)).andTee(finish).orTee(finish);
    },
    find(of) {
      const key = runKey(of);
      const run = runs.get(key);
      return run === undefined ? okAsync(undefined) : ResultAsync.fromSafePromise(known(key, run));
    },
    purge(startedBefore) {
      // The next process finds by itself how old they are.
      const voided = table.voided(monotonic() - voidLife);
      table.forget(voided);
      const victims = table.ended(startedBefore);
      if (victims.length === 0) return okAsync(voided.length);
      return append(['purge', startedBefore]).andThen(() => {
        table.forget(victims);
        tidy();
        return ResultAsync.fromSafePromise(
          results.forget(victims).then(() => victims.length + voided.length),
        );
      });
    },
    close: async () => {
      await beginning;
      await journal.close();
      await rewriting;
      await release();
    },
  };
}
