import { ok, type Result, safeTry } from 'neverthrow';
import type { CtrlExecError, Lock } from '../../../domain/core/errors.js';
import { notKnown } from '../../../domain/runs/host-ends.js';
import {
  bytesFrom,
  type HostOutput,
  type HostResult,
  type HostState,
  hostStates,
  type LeftBehind,
  mayBeLearnt,
} from '../../../domain/runs/host-result.js';
import { integer, listOf, oneOf, orNull, quantity, shape, text } from './shape.js';
import type { StoreFailed, Transaction } from './transaction.js';

/** What is kept of a host besides its state and its times; the versions before kept some members more. */
interface StoredResult extends Partial<Omit<HostOutput, 'stdoutBytes' | 'stderrBytes'>> {
  readonly rtt?: number;
  readonly error?: string;
  readonly failure?: { readonly code: string; readonly message: string };
  readonly reportedHostname?: string;
  /** Base64. */
  readonly stdoutBytes?: string;
  readonly stderrBytes?: string;
}

interface HostRow {
  readonly reqid: string;
  readonly position: number;
  readonly host: string;
  readonly script: string;
  readonly state: HostState;
  readonly begun_at: number | null;
  readonly settled_at: number | null;
  readonly seen_at: number | null;
  readonly result: StoredResult;
}

const isStoredResult = shape<StoredResult>(
  {},
  {
    exit: quantity,
    stdout: text,
    stderr: text,
    truncated: shape<NonNullable<HostOutput['truncated']>>({}, { stdout: quantity, stderr: quantity }),
    leftBehind: shape<LeftBehind>({ pids: listOf(integer) }, { count: integer }),
    rtt: quantity,
    error: text,
    failure: shape<NonNullable<StoredResult['failure']>>({ code: text, message: text }, {}),
    reportedHostname: text,
    stdoutBytes: text,
    stderrBytes: text,
  },
);

export const isHostState = oneOf(...hostStates);

const isHostRow = shape<HostRow>(
  {
    reqid: text,
    position: integer,
    host: text,
    script: text,
    state: isHostState,
    begun_at: orNull(integer),
    settled_at: orNull(integer),
    seen_at: orNull(integer),
    result: isStoredResult,
  },
  {},
);

/** A host as it is kept. */
export const hostResultOf = (row: HostRow): HostResult => {
  const { host, script, reqid, state, begun_at, settled_at, seen_at, result } = row;
  const { error, failure, truncated, leftBehind, reportedHostname } = result;
  const stdoutBytes = result.stdoutBytes === undefined ? undefined : bytesFrom(result.stdoutBytes);
  const stderrBytes = result.stderrBytes === undefined ? undefined : bytesFrom(result.stderrBytes);
  return {
    ...{ host, script, reqid, state },
    ...(begun_at !== null && { begunAt: begun_at }),
    ...(settled_at !== null && { settledAt: settled_at }),
    ...(seen_at !== null && { seenAt: seen_at }),
    exit: result.exit ?? -1,
    stdout: result.stdout ?? '',
    stderr: result.stderr ?? '',
    ...(stdoutBytes && { stdoutBytes }),
    ...(stderrBytes && { stderrBytes }),
    ...(truncated && { truncated }),
    ...(leftBehind && { leftBehind }),
    ...(error !== undefined && { error }),
    // A code and its fields, as this program or one of another version has written them.
    ...(failure && { failure: failure as CtrlExecError }),
    ...(reportedHostname !== undefined && { reportedHostname }),
    rtt: result.rtt ?? 0,
  };
};

/** The columns that a result changes. */
export function columnsOf(result: HostResult) {
  const { host: _, script: __, reqid: ___, state, begunAt, settledAt, seenAt, ...kept } = result;
  return {
    state,
    begun_at: begunAt ?? null,
    settled_at: settledAt ?? null,
    seen_at: seenAt ?? null,
    open: mayBeLearnt(result) ? 1 : 0,
    result: JSON.stringify(kept),
  };
}

/** The hosts of a run, in their order. */
export const hostsOfRun = (tx: Transaction, reqid: string): Result<readonly HostRow[], StoreFailed> =>
  tx.rows(
    tx.query.selectFrom('run_hosts').selectAll().where('reqid', '=', reqid).orderBy('position'),
    isHostRow,
    ['result'],
  );

/** Writes a host of a run anew. */
export const writeHost = (
  tx: Transaction,
  { reqid, position }: Pick<HostRow, 'reqid' | 'position'>,
  result: HostResult,
): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .updateTable('run_hosts')
      .set(columnsOf(result))
      .where('reqid', '=', reqid)
      .where('position', '=', position),
  );

/** A run has ended once nothing more is to be learnt of any of its hosts. */
export const endRun = (tx: Transaction, reqid: string, now: number): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .updateTable('runs')
      .set({ completed_at: now })
      .where('reqid', '=', reqid)
      .where('completed_at', 'is', null)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(selectFrom('run_hosts').select('position').where('reqid', '=', reqid).where('open', '=', 1)),
        ),
      ),
  );

/** A host that is settled as it stands, whatever it comes to. */
export const settledAs = (
  tx: Transaction,
  row: HostRow,
  why: CtrlExecError,
  now: number,
): Result<void, StoreFailed> =>
  safeTry(function* () {
    const result = hostResultOf(row);
    const left = row.state === 'running' ? { ...result, ...notKnown(why) } : result;
    yield* writeHost(tx, row, { ...left, settledAt: now });
    yield* endRun(tx, row.reqid, now);
    return ok(undefined);
  });

/** Hosts that hold locks; of one script and some hosts, or of all. */
export const lockRows = (
  tx: Transaction,
  wanted: { readonly script?: string | undefined; readonly hosts?: readonly string[] } = {},
): Result<readonly (HostRow & { slot: number; session: string | null })[], StoreFailed> => {
  const { script, hosts } = wanted;
  let rows = tx.query
    .selectFrom('run_hosts')
    .innerJoin('runs', 'runs.reqid', 'run_hosts.reqid')
    .selectAll('run_hosts')
    .select('runs.session as session')
    .where('begun_at', 'is not', null)
    .where('settled_at', 'is', null)
    .orderBy('run_hosts.host')
    .orderBy('run_hosts.script')
    .orderBy('slot');
  if (script !== undefined) rows = rows.where('run_hosts.script', '=', script);
  if (hosts !== undefined) rows = rows.where('run_hosts.host', 'in', hosts);
  const isLockRow = (value: unknown): value is HostRow & { slot: number; session: string | null } =>
    isHostRow(value) && isSlotted(value);
  return tx.rows(rows, isLockRow, ['result']);
};

const isSlotted = shape<{ slot: number; session: string | null }>(
  { slot: integer, session: orNull(text) },
  {},
);

export const lockOf = ({ host, script, reqid, begun_at }: HostRow): Lock => ({
  host,
  script,
  runId: reqid,
  since: new Date(begun_at ?? 0),
});
