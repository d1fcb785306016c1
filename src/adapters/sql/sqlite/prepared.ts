import type Libsql from 'libsql';

const kept = new WeakMap<Libsql.Database, Map<string, Libsql.Statement>>();

/**
 * The statement for this text, prepared once a connection unless it is for one use. libsql cannot finalise statements:
 * each lives until it is collected as garbage, which a busy process puts off for long.
 */
export const preparedOn = (connection: Libsql.Database, sql: string, once = false): Libsql.Statement => {
  if (once) return connection.prepare(sql);
  const statements = kept.get(connection) ?? new Map<string, Libsql.Statement>();
  kept.set(connection, statements);
  const known = statements.get(sql);
  if (known !== undefined) return known;
  const made = connection.prepare(sql);
  statements.set(sql, made);
  return made;
};
