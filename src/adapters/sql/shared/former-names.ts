import type { Result } from 'neverthrow';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { oneOf, shape, text } from './shape.js';
import type { StoreFailed, Transaction } from './transaction.js';

/** A name that goes: it is not brought back by an import, and version 1 does not take one that paired by version 2. */
export const remember = (
  tx: Transaction,
  { name, pairing }: Pick<AgentRecord, 'name' | 'pairing'>,
): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .insertInto('former_names')
      .values({ name, pairing })
      // Never back to v1.
      .onConflict((conflict) =>
        pairing === 'v2' ? conflict.column('name').doUpdateSet({ pairing }) : conflict.doNothing(),
      ),
  );

const isFormer = shape<{ name: string; pairing: 'v1' | 'v2' }>(
  { name: text, pairing: oneOf('v1', 'v2') },
  {},
);

/** Those that nobody has again, sorted. */
export const formerNames = (tx: Transaction): Result<readonly string[], StoreFailed> => {
  const registered = tx.query.selectFrom('agents').select('name');
  const former = tx.query.selectFrom('former_names').selectAll().where('name', 'not in', registered);
  return tx.rows(former.orderBy('name'), isFormer).map((rows) => rows.map(({ name }) => name));
};

/** How a name had paired at last, if it was registered before. */
export const former = (tx: Transaction, name: string) =>
  tx
    .rows(tx.query.selectFrom('former_names').selectAll().where('name', '=', name), isFormer)
    .map(([row]) => row);
