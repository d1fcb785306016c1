import { join } from 'node:path';
import { err, errAsync, ok, okAsync, ResultAsync } from 'neverthrow';
import {
  type AgentRunKey,
  type AgentRuns,
  agentRunCapacity,
  type KnownRun,
  type RunClaim,
} from '../../../ports/agent-runs.js';
import { ensureDirectory } from '../atomic-write.js';
import { holdLock, type Release } from '../held-lock.js';
import { attempt, type FileFailure, systemFailure, unless } from '../system-failure.js';
import { removeAbandoned } from '../temporary.js';
import { readFrames } from './frames.js';
import { createJournal, type Journal } from './journal.js';
import { openRunAnswers, type RunAnswers } from './run-answers.js';
import { encodePurge, encodeRun, type RunTable, runKey, runTable, type StoredRun } from './run-table.js';

const ANSWER_BYTES = 256 * 1024 * 1024;
const SMALL_JOURNAL_FRAMES = 4096;

export interface FileAgentRunsOptions {
  /** Made, 0700, when it is missing. */
  readonly directory: string;
  readonly capacity?: number;
  /** Bytes of answers in all. Default: 256 MiB. */
  readonly answerBytes?: number;
}

/**
 * Keeps the runs in memory and in a journal `runs.journal`, 0600, and each answer in a file of its own in `answers`. `begun` is
 * answered when the run has been written, not synced: it survives the process, not always a power cut. The journal
 * is written anew when it is opened, what was running is `lost` then, and when it holds more than twice what is known.
 * Of a journal that was damaged counts what comes before the damage.
 *
 * Opened by the first call, then held by the lock `runs.lock` until `close` or the end of the process; a second process
 * waits 5 s and fails with reason `ELOCKED`. `end` of what is not running fails with reason `ENOENT`. When an answer cannot be
 * written, `end` says so, and the run is `done` without an answer.
 */
export const fileAgentRuns = (options: FileAgentRunsOptions): AgentRuns => {
  const { directory, capacity = agentRunCapacity, answerBytes = ANSWER_BYTES } = options;
  let opened: ResultAsync<OpenRuns, FileFailure> | undefined;
  let closed = false;

  const open = (): ResultAsync<OpenRuns, FileFailure> => {
    if (closed) return errAsync(systemFailure(directory, 'write', 'EBADF', 'it was closed'));
    opened ??= ensureDirectory(directory, 0o700)
      .andThen(() => holdLock(join(directory, 'runs.lock')))
      .andThen((release) => openRuns(directory, capacity, answerBytes, release).orTee(release))
      .orTee(() => {
        opened = undefined;
      });
    return opened;
  };

  return {
    begin: (key, script, startedAt) => open().andThen((runs) => runs.begin(key, script, startedAt)),
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

function openRuns(
  directory: string,
  capacity: number,
  answerBytes: number,
  release: Release,
): ResultAsync<OpenRuns, FileFailure> {
  const path = join(directory, 'runs.journal');
  const table = runTable();
  return attempt(path, 'read', async () => {
    await removeAbandoned(directory);
    return load(path, table);
  })
    .andThen((newer) =>
      newer ? err(systemFailure(path, 'read', 'EPROTO', 'it was written by a newer version')) : ok(undefined),
    )
    .andThen(() => {
      markLost(table);
      return createJournal(path, table.records());
    })
    .andThen((journal) =>
      openRunAnswers(join(directory, 'answers'), answerBytes, answersOf(table), (key) => {
        const run = table.runs.get(key);
        if (run !== undefined) table.set(key, { ...run, bytes: -1 });
      })
        .map((answers) => running(journal, table, answers, capacity, release))
        .orTee(() => journal.close()),
    );
}

/** Whether the journal is of a version that this one cannot read. */
async function load(path: string, table: RunTable): Promise<boolean> {
  let newer = false;
  const each = (record: Buffer) => {
    if (!newer && table.apply(record) === 'newer format') newer = true;
  };
  // defence: runs-survive-restart
  await unless(['ENOENT'], readFrames(path, each));
  return newer;
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
  capacity: number,
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

  const known = async (key: string, run: StoredRun): Promise<KnownRun> => {
    const { script, startedAt, state } = run;
    if (state !== 'done') return { state, script, startedAt };
    return { state, script, startedAt, finishedAt: startedAt + run.lasted, answer: await answers.find(key) };
  };

  const claim = (of: AgentRunKey, script: string, startedAt: number): ResultAsync<RunClaim, FileFailure> => {
    const key = runKey(of);
    const before = runs.get(key);
    if (before !== undefined)
      return ResultAsync.fromSafePromise(known(key, before)).map((run) => ({ kind: 'known', run }));
    if (runs.size >= capacity) return okAsync({ kind: 'full' });
    const run: StoredRun = { script, startedAt, state: 'running', lasted: 0, bytes: -1 };
    table.set(key, run);
    return journal
      .append(encodeRun(key, run))
      .map((): RunClaim => ({ kind: 'begun' }))
      .orTee(() => runs.delete(key));
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
      const victims = table.ended(startedBefore);
      if (victims.length === 0) return okAsync(0);
      return journal.append(encodePurge(startedBefore)).andThen(() => {
        for (const key of victims) runs.delete(key);
        tidy();
        return ResultAsync.fromSafePromise(answers.forget(victims).then(() => victims.length));
      });
    },
    close: async () => {
      await journal.close();
      await rewriting;
      await release();
    },
  };
}
