import type Libsql from 'libsql';
import { err, ok, type Result } from 'neverthrow';
import { type StoreFailed, storeFailed } from '../shared/transaction.js';
import { preparedOn } from './prepared.js';

/** Marks the file as ours (`PRAGMA application_id`): "cxst". */
const applicationId = 0x63787374;

/**
 * Numbered by their place, from 1, and forward-only: what was released is never edited, a change is one more entry.
 * Each runs in a transaction of its own together with the version that it leads to.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE agents (
    name TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    pairing TEXT NOT NULL,
    paired_at INTEGER NOT NULL,
    tags TEXT NOT NULL
  ) STRICT;
  CREATE TABLE pins (
    name TEXT NOT NULL REFERENCES agents (name) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('active', 'issued')),
    spki_sha256 TEXT NOT NULL,
    serial TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    endpoint TEXT,
    pairing TEXT NOT NULL,
    PRIMARY KEY (name, state)
  ) STRICT;
  CREATE INDEX pins_by_key ON pins (spki_sha256);
  CREATE TABLE pairing_requests (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    host TEXT NOT NULL,
    ip TEXT NOT NULL,
    port INTEGER NOT NULL,
    lookup_by TEXT NOT NULL,
    code TEXT,
    version TEXT NOT NULL,
    decision TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE runs (
    reqid TEXT PRIMARY KEY,
    script TEXT NOT NULL,
    hosts TEXT NOT NULL,
    username TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    completed_at INTEGER
  ) STRICT;
  CREATE INDEX runs_by_start ON runs (started_at);
  CREATE TABLE run_results (
    reqid TEXT NOT NULL REFERENCES runs (reqid) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (reqid, position)
  ) STRICT;
  CREATE TABLE locks (
    host TEXT NOT NULL,
    script TEXT NOT NULL,
    reqid TEXT NOT NULL,
    owner TEXT NOT NULL,
    pid INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (host, script)
  ) STRICT;
  PRAGMA application_id = ${applicationId};
  `,
  `
  CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    bound_to TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    burnt_at INTEGER
  ) STRICT;
  `,
  `
  ALTER TABLE agents ADD COLUMN standing TEXT NOT NULL DEFAULT '{"serials":[],"crlNumber":0}';
  CREATE TABLE pins_with_renewals (
    name TEXT NOT NULL REFERENCES agents (name) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('active', 'issued')),
    renewal INTEGER NOT NULL DEFAULT 0 CHECK (renewal = 0 OR (renewal = 1 AND state = 'issued')),
    spki_sha256 TEXT NOT NULL,
    serial TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    endpoint TEXT,
    pairing TEXT NOT NULL,
    standing TEXT,
    PRIMARY KEY (name, state, renewal)
  ) STRICT;
  INSERT INTO pins_with_renewals (name, state, spki_sha256, serial, not_after, issued_at, endpoint, pairing)
    SELECT name, state, spki_sha256, serial, not_after, issued_at, endpoint, pairing FROM pins;
  DROP TABLE pins;
  ALTER TABLE pins_with_renewals RENAME TO pins;
  CREATE INDEX pins_by_key ON pins (spki_sha256);
  CREATE TABLE revocations (
    serial TEXT PRIMARY KEY,
    name TEXT,
    revoked_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE revocation_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
  ) STRICT;
  INSERT INTO revocation_revision (id, revision) VALUES (1, 0);
  `,
  `
  CREATE TABLE former_names (name TEXT PRIMARY KEY, pairing TEXT NOT NULL) STRICT;
  ALTER TABLE agents ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
  UPDATE agents SET standing = json_set(standing, '$.speaks', 'signed') WHERE pairing = 'v2';
  UPDATE pins SET standing = json_set(standing, '$.speaks', 'signed')
    WHERE pairing = 'v2' AND standing IS NOT NULL;
  `,
  `
  ALTER TABLE runs ADD COLUMN mode TEXT NOT NULL DEFAULT 'sync' CHECK (mode IN ('sync', 'async'));
  ALTER TABLE runs ADD COLUMN source_ip TEXT NOT NULL DEFAULT '';
  CREATE INDEX runs_by_end ON runs (completed_at);
  `,
  `
  ALTER TABLE runs ADD COLUMN args TEXT;
  ALTER TABLE runs ADD COLUMN submissions TEXT;
  ALTER TABLE runs ADD COLUMN retry_of TEXT;
  ALTER TABLE runs ADD COLUMN idempotency_key TEXT;
  ALTER TABLE runs ADD COLUMN caller_digest TEXT;
  CREATE UNIQUE INDEX runs_by_idempotency_key ON runs (idempotency_key) WHERE idempotency_key IS NOT NULL;
  DROP INDEX runs_by_start;
  CREATE INDEX runs_by_start ON runs (started_at, reqid);
  ALTER TABLE run_results ADD COLUMN verdict TEXT CHECK (verdict IN ('succeeded', 'failed'));
  UPDATE run_results SET verdict = CASE
    WHEN json_extract(result, '$.unheard') THEN NULL
    WHEN json_extract(result, '$.status') IN ('accepted', 'running') THEN NULL
    WHEN coalesce(json_extract(result, '$.status'), 'done') = 'done' AND json_extract(result, '$.exit') = 0
      THEN 'succeeded'
    ELSE 'failed' END
    WHERE json_valid(result);
  CREATE INDEX run_results_by_verdict ON run_results (reqid, verdict, position);
  `,
  `
  CREATE TABLE run_hosts (
    reqid TEXT NOT NULL REFERENCES runs (reqid) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    host TEXT NOT NULL,
    script TEXT NOT NULL,
    state TEXT NOT NULL,
    begun_at INTEGER,
    settled_at INTEGER,
    seen_at INTEGER,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    slot INTEGER NOT NULL DEFAULT 0,
    result TEXT NOT NULL,
    PRIMARY KEY (reqid, position)
  ) STRICT;
  INSERT INTO run_hosts (reqid, position, host, script, state, seen_at, open, result)
    WITH kept AS (
      SELECT reqid, position, result AS written, CASE WHEN json_valid(result) THEN result END AS result
        FROM run_results
    ), told AS (
      SELECT runs.reqid, hosts.key AS position, hosts.value AS host, runs.script, runs.started_at, runs.completed_at,
        kept.written, kept.result,
        json_extract(kept.result, '$.status') AS status,
        json_extract(kept.result, '$.exit') AS exit,
        json_extract(kept.result, '$.error') AS error,
        CASE
          WHEN kept.written IS NULL THEN runs.completed_at IS NULL
          ELSE coalesce(json_extract(kept.result, '$.unheard'), 0)
            OR coalesce(json_extract(kept.result, '$.status'), '') IN ('accepted', 'running')
        END AS open
        FROM runs, json_each(CASE WHEN json_valid(runs.hosts) THEN runs.hosts ELSE '[]' END) AS hosts
        LEFT JOIN kept ON kept.reqid = runs.reqid AND kept.position = hosts.key
    )
    SELECT reqid, position, host, script,
      CASE
        WHEN written IS NULL AND completed_at IS NULL THEN 'running'
        WHEN result IS NULL OR json_extract(result, '$.unheard') OR status = 'expired' THEN 'unknown'
        WHEN status IN ('accepted', 'running') THEN 'running'
        WHEN status IN ('busy', 'error') THEN 'refused'
        WHEN status IN ('cancelled', 'lost') THEN status
        WHEN exit = 0 THEN 'succeeded'
        WHEN exit = 126 AND error GLOB 'cancelled*' THEN 'cancelled'
        WHEN exit > 0 THEN 'failed'
        WHEN error GLOB 'lost' OR error GLOB 'lost[^a-z]*' THEN 'lost'
        WHEN error GLOB 'read timeout*' THEN 'unknown'
        ELSE 'refused'
      END,
      CASE WHEN open THEN started_at END,
      open,
      CASE status
        WHEN 'busy' THEN json_set(result, '$.failure',
          json_object('code', 'busy', 'message', 'script already running', 'script', script))
        WHEN 'expired' THEN json_set(result, '$.failure',
          json_object('code', 'forgotten', 'message', 'its agent has no record of it'))
        ELSE coalesce(written, '{}')
      END
    FROM told;
  UPDATE run_hosts SET settled_at = (SELECT coalesce(completed_at, started_at) FROM runs WHERE runs.reqid = run_hosts.reqid)
    WHERE open = 0;
  UPDATE runs SET completed_at = CASE
    WHEN EXISTS (SELECT 1 FROM run_hosts WHERE run_hosts.reqid = runs.reqid AND open = 1) THEN NULL
    ELSE coalesce(completed_at, started_at) END;
  CREATE UNIQUE INDEX run_locks ON run_hosts (host, script, slot) WHERE begun_at IS NOT NULL AND settled_at IS NULL;
  CREATE INDEX run_hosts_by_host ON run_hosts (host);
  CREATE INDEX run_hosts_by_state ON run_hosts (state, reqid);
  DROP TABLE run_results;
  DROP TABLE locks;
  ALTER TABLE runs DROP COLUMN hosts;
  ALTER TABLE runs DROP COLUMN submissions;
  ALTER TABLE runs ADD COLUMN principal TEXT;
  ALTER TABLE runs ADD COLUMN session TEXT;
  ALTER TABLE runs ADD COLUMN token_mac TEXT;
  CREATE INDEX runs_by_session ON runs (session) WHERE session IS NOT NULL;
  CREATE TABLE mutexes (
    name TEXT PRIMARY KEY,
    session TEXT,
    pid INTEGER NOT NULL,
    since INTEGER NOT NULL,
    term INTEGER NOT NULL
  ) STRICT;
  `,
  // When an entry came is not known of those that are there: one time of revoking counts as one revision.
  `
  ALTER TABLE revocations ADD COLUMN not_after INTEGER;
  ALTER TABLE revocations ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
  UPDATE revocations SET not_after = pins.not_after FROM pins WHERE pins.serial = revocations.serial;
  UPDATE revocations SET revision = (SELECT revision FROM revocation_revision) + 1 - times.before_last
    FROM (SELECT serial, dense_rank() OVER (ORDER BY revoked_at DESC) AS before_last FROM revocations) AS times
    WHERE times.serial = revocations.serial;
  CREATE INDEX revocations_by_revision ON revocations (revision);
  CREATE TABLE banned_keys (
    spki_sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    banned_at INTEGER NOT NULL
  ) STRICT;
  INSERT INTO banned_keys
    SELECT pins.spki_sha256, min(pins.name), min(revocations.revoked_at)
    FROM pins JOIN revocations ON revocations.serial = pins.serial GROUP BY pins.spki_sha256;
  CREATE TABLE issued_certificates (
    serial TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    spki_sha256 TEXT NOT NULL,
    not_after INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX issued_certificates_by_name ON issued_certificates (name);
  CREATE TRIGGER pins_are_kept AFTER DELETE ON pins BEGIN
    INSERT OR REPLACE INTO issued_certificates VALUES (OLD.serial, OLD.name, OLD.spki_sha256, OLD.not_after);
  END;
  `,
  `
  ALTER TABLE pairing_requests ADD COLUMN place TEXT NOT NULL DEFAULT 'compare' CHECK (place IN ('compare', 'join'));
  ALTER TABLE pairing_requests ADD COLUMN place_key TEXT NOT NULL DEFAULT '';
  ALTER TABLE pairing_requests ADD COLUMN place_until INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE pairing_requests ADD COLUMN issued_name TEXT;
  CREATE INDEX pairing_requests_by_place ON pairing_requests (place_until);
  CREATE INDEX pairing_requests_by_state ON pairing_requests (state, created_at);
  CREATE INDEX pairing_requests_by_name ON pairing_requests (issued_name) WHERE issued_name IS NOT NULL;
  `,
  'ALTER TABLE pairing_requests ADD COLUMN stated_ip TEXT;',
];

/** The schema that this program reads and writes. */
const schemaVersion = migrations.length;

const numberOf = (connection: Libsql.Database, query: string): number => {
  const [row] = preparedOn(connection, query).all([]) as readonly object[];
  return Number(Object.values(row ?? {})[0]);
};

/**
 * Whether this program may use the file: it is ours, or empty, and not from the future. Ok says whether it is at the
 * present version. Cheap enough to be asked in each transaction, so that a program that was left running while its
 * successor migrated the file stops instead of writing rows of an old shape. Call it within a transaction: it reads
 * several values, and another process may be migrating.
 */
export const inspectSchema = (
  connection: Libsql.Database,
  path: string,
  operation: string,
): Result<'current' | 'older', StoreFailed> => {
  const version = numberOf(connection, 'PRAGMA user_version');
  if (numberOf(connection, 'PRAGMA application_id') !== applicationId) {
    const empty = version === 0 && numberOf(connection, 'SELECT count(*) FROM sqlite_schema') === 0;
    if (empty) return ok('older');
    const message = `${path}: a database of another program; expected one of ctrl-exec`;
    return err(storeFailed(operation, 'foreign_database', message));
  }
  if (version <= schemaVersion) return ok(version === schemaVersion ? 'current' : 'older');
  const message = `${path}: written by a newer ctrl-exec (schema ${version}, this one knows up to ${schemaVersion}); upgrade ctrl-exec on this host`;
  return err(storeFailed(operation, 'newer_schema', message));
};

/** The same, with a transaction of its own around it. */
export const inspectFile = (
  connection: Libsql.Database,
  path: string,
): Result<'current' | 'older', StoreFailed> => {
  connection.exec('BEGIN');
  try {
    return inspectSchema(connection, path, 'open');
  } finally {
    if (connection.inTransaction) connection.exec('ROLLBACK');
  }
};

/** Brings the file to the present version, one transaction a step; several processes may do so at once. */
export const migrate = (connection: Libsql.Database, path: string): Result<void, StoreFailed> => {
  for (;;) {
    // Not only an optimisation: a reader needs no write lock, so opening never waits for whoever writes.
    const before = inspectFile(connection, path);
    if (before.isErr() || before.value === 'current') return before.map(() => undefined);
    connection.exec('BEGIN IMMEDIATE');
    const locked = inspectSchema(connection, path, 'open');
    if (locked.isErr() || locked.value === 'current') {
      connection.exec('ROLLBACK');
      continue;
    }
    const version = numberOf(connection, 'PRAGMA user_version');
    connection.exec(`${migrations[version] ?? ''}; PRAGMA user_version = ${version + 1}`);
    connection.exec('COMMIT');
  }
};
