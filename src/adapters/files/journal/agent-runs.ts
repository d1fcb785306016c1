import { join } from 'node:path';
import { err, errAsync, ok, okAsync, ResultAsync } from 'neverthrow';
import {
  type AgentRunKey,
  type AgentRuns,
  agentRunCapacity,
  type ClaimedRun,
  type RunClaim,
  type SettledRun,
  voidCapacity,
  voidLife,
} from '../../../ports/agent-runs.js';
import { ensureDirectory } from '../atomic-write.js';
import { holdLock, type Release } from '../held-lock.js';
import { attempt, type FileFailure, systemFailure, unless } from '../system-failure.js';
import { removeAbandoned } from '../temporary.js';
import { sinceBoot, systemBootId } from './boot.js';
import { readFrames } from './frames.js';
import { createJournal, type Journal } from './journal.js';
import { openRunAnswers, type RunAnswers } from './run-answers.js';
import {
  encodePurge,
  encodeRun,
  ownerOf,
  type RunTable,
  runKey,
  runTable,
  type StoredRun,
} from './run-table.js';

const ANSWER_BYTES = 256 * 1024 * 1024;
const SMALL_JOURNAL_FRAMES = 4096;

export interface FileAgentRunsOptions {
  /** Made, 0700, when it is missing. */
  readonly directory: string;
  readonly capacity?: number;
  /** Bytes of answers in all. Default: 256 MiB. */
  readonly answerBytes?: number;
  /** Voids of one owner. Default: 8,192. */
  readonly voids?: number;
  /** What changes when the machine is started anew; undefined: cannot be known. Default: Linux' boot id. */
  readonly bootId?: () => string | undefined;
  /** Milliseconds on a clock that all processes of one boot share. */
  readonly monotonic?: () => number;
}

/**
 * Keeps the runs in memory and in a journal `runs.journal`, 0600, and each answer in a file of its own in `answers`. `begun` is
 * answered when the run has been written, not synced: it survives the process, not always a power cut. The journal
 * is written anew when it is opened, what was running is `lost` then, and when it holds more than twice what is known.
 * Of a journal that was damaged counts what comes before the damage.
 *
 * As nothing is synced, a boot may have lost claims of the time before it: what `settle` says is complete counts from when
 * the store was first opened in this boot, or found damaged or without its journal. Times for that are of the clock since boot, which a
 * journal keeps for the next process.
 *
 * Opened by the first call, then held by the lock `runs.lock` until `close` or the end of the process; a second process
 * waits 5 s and fails with reason `ELOCKED`. `end` of what is not running fails with reason `ENOENT`. When an answer cannot be
 * written, `end` says so, and the run is `done` without an answer.
 */
export const fileAgentRuns = (options: FileAgentRunsOptions): AgentRuns => {
  const { directory } = options;
  let opened: ResultAsync<OpenRuns, FileFailure> | undefined;
  let closed = false;

  const open = (): ResultAsync<OpenRuns, FileFailure> => {
    if (closed) return errAsync(systemFailure(directory, 'write', 'EBADF', 'it was closed'));
    opened ??= ensureDirectory(directory, 0o700)
      .andThen(() => holdLock(join(directory, 'runs.lock')))
      .andThen((release) => openRuns(options, release).orTee(release))
      .orTee(() => {
        opened = undefined;
      });
    return opened;
  };

  return {
    begin: (key, script, startedAt) => open().andThen((runs) => runs.begin(key, script, startedAt)),
    settle: (key) => open().andThen((runs) => runs.settle(key)),
    end: (key, finishedAt, answer) => open().andThen((runs) => runs.end(key, finishedAt, answer)),
    find: (key) => open().andThen((runs) => runs.find(key)),
    purge: (startedBefore) => open().andThen((runs) => runs.purge(startedBefore)),
    close: async () => {
      closed = true;
      const runs = await opened;
      if (runs?.isOk()) await runs.value.close();
    },
  };
};

type OpenRuns = AgentRuns;

/** Where the limits are, and the clock. */
type Limits = Required<Pick<FileAgentRunsOptions, 'capacity' | 'voids' | 'monotonic'>>;

function openRuns(options: FileAgentRunsOptions, release: Release): ResultAsync<OpenRuns, FileFailure> {
  const { directory, answerBytes = ANSWER_BYTES, bootId = systemBootId } = options;
  const { capacity = agentRunCapacity, voids = voidCapacity, monotonic = sinceBoot } = options;
  const path = join(directory, 'runs.journal');
  const table = runTable();
  return attempt(path, 'read', async () => {
    await removeAbandoned(directory);
    return load(path, table);
  })
    .andThen((found) =>
      found === 'newer'
        ? err(systemFailure(path, 'read', 'EPROTO', 'it was written by a newer version'))
        : ok(found),
    )
    .andThen((found) => {
      const [boot, now, since] = [bootId(), monotonic(), table.since('')];
      const known = boot !== undefined && boot === table.boot() && since !== undefined && since <= now;
      // defence: lost-claim-is-no-proof
      if (found !== 'whole' || !known) table.restart(boot, now);
      markLost(table);
      return createJournal(path, table.records());
    })
    .andThen((journal) =>
      openRunAnswers(join(directory, 'answers'), answerBytes, answersOf(table), (key) => {
        const run = table.runs.get(key);
        if (run !== undefined) table.set(key, { ...run, bytes: -1 });
      })
        .map((answers) => running(journal, table, answers, { capacity, voids, monotonic }, release))
        .orTee(() => journal.close()),
    );
}

/** `part`: it was not there, or holds what is not understood. `newer`: it is of a version that this one cannot read. */
async function load(path: string, table: RunTable): Promise<'whole' | 'part' | 'newer'> {
  const found = new Set<ReturnType<RunTable['apply']>>();
  const each = (record: Buffer) => {
    if (!found.has('newer format')) found.add(table.apply(record));
  };
  // defence: runs-survive-restart
  const read = await unless(['ENOENT'], readFrames(path, each));
  if (found.has('newer format')) return 'newer';
  return read?.intact === true && !found.has('unknown') ? 'whole' : 'part';
}

function markLost({ runs, set }: RunTable): void {
  for (const [key, run] of runs)
    if (run.state === 'running') /* defence: interrupted-run-is-lost */ set(key, { ...run, state: 'lost' });
}

function answersOf({ runs }: RunTable): ReadonlyMap<string, number> {
  const found = [...runs].filter(([, run]) => run.bytes >= 0);
  found.sort(([, a], [, b]) => a.startedAt + a.lasted - (b.startedAt + b.lasted));
  return new Map(found.map(([key, { bytes }]) => [key, bytes]));
}

function running(
  journal: Journal,
  table: RunTable,
  answers: RunAnswers,
  { capacity, voids, monotonic }: Limits,
  release: Release,
): OpenRuns {
  const { runs } = table;
  const ending = new Set<string>();
  let rewriting: ResultAsync<void, FileFailure> = okAsync(undefined);
  /** Where the disk is full, trying again with every run would cost more than the room that it may win. */
  let notBelow = 0;

  const tidy = () => {
    const frames = journal.frames();
    if (frames <= 2 * runs.size + SMALL_JOURNAL_FRAMES || frames < notBelow) return;
    notBelow = frames + SMALL_JOURNAL_FRAMES;
    rewriting = journal.rewrite(table.records()).andTee(() => {
      notBelow = 0;
    });
  };

  const begun = async (key: string, { script, startedAt, lasted }: StoredRun, state: ClaimedRun['state']) =>
    state === 'done'
      ? { state, script, startedAt, finishedAt: startedAt + lasted, answer: await answers.find(key) }
      : { state, script, startedAt };

  const known = async (key: string, run: StoredRun) =>
    run.state === 'void' ? { state: run.state } : begun(key, run, run.state);

  const isFull = (owner: string) =>
    runs.size >= capacity || /* defence: half-of-ids-for-others */ table.share(owner).ids >= capacity / 2;

  /** Written, or as it was before. */
  const enter = (key: string, run: StoredRun): ResultAsync<void, FileFailure> => {
    const before = runs.get(key);
    const entered = table.set(key, run);
    return journal.append(encodeRun(key, run)).orTee(() => {
      if (runs.get(key) !== entered) return;
      if (before === undefined) table.remove(key);
      else table.set(key, before);
    });
  };

  const claim = (of: AgentRunKey, script: string, startedAt: number): ResultAsync<RunClaim, FileFailure> => {
    const key = runKey(of);
    const before = runs.get(key);
    if (before !== undefined)
      return ResultAsync.fromSafePromise(known(key, before)).map((run) => ({ kind: 'known', run }));
    const owner = ownerOf(of);
    if (isFull(owner)) return okAsync({ kind: 'full' });
    const enteredAt = monotonic();
    const run: StoredRun = { script, owner, startedAt, enteredAt, state: 'running', lasted: 0, bytes: -1 };
    return enter(key, run).map(() => ({ kind: 'begun' }));
  };

  const settle = (of: AgentRunKey): ResultAsync<SettledRun, FileFailure> => {
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
    const enteredAt = monotonic();
    const entry: StoredRun = {
      script: '',
      owner,
      startedAt: 0,
      enteredAt,
      state: 'void',
      lasted: 0,
      bytes: -1,
    };
    return enter(key, entry).map(() => {
      tidy();
      const now = monotonic();
      return { kind: 'void', completeFor: now - (table.since(owner) ?? now) };
    });
  };

  const end = (key: string, run: StoredRun, finishedAt: number, answer: Uint8Array) =>
    new ResultAsync(
      (async () => {
        const kept = await answers.keep(key, answer);
        const bytes = kept.isOk() && kept.value ? answer.byteLength : -1;
        const done: StoredRun = { ...run, state: 'done', lasted: finishedAt - run.startedAt, bytes };
        table.set(key, done);
        const written = await journal.append(encodeRun(key, done));
        return written.andThen(() => kept.map(() => undefined));
      })(),
    );

  return {
    begin: claim,
    settle,
    end(of, finishedAt, answer) {
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
      return end(key, run, finishedAt, answer).andTee(finish).orTee(finish);
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
      return journal.append(encodePurge(startedBefore)).andThen(() => {
        table.forget(victims);
        tidy();
        return ResultAsync.fromSafePromise(
          answers.forget(victims).then(() => victims.length + voided.length),
        );
      });
    },
    close: async () => {
      await journal.close();
      await rewriting;
      await release();
    },
  };
}
