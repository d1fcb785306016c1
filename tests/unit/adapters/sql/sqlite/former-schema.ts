/** The schema of the first two versions, as they were released: never edited. */
export const formerSchema = `
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
  PRAGMA application_id = 1668838260;
  CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    bound_to TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    burnt_at INTEGER
  ) STRICT;
  PRAGMA user_version = 2;
`;

/** The schema of version 6, the last one with results and locks in tables of their own: never edited. */
export const schemaBeforeHosts = `
  ${formerSchema}
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
  CREATE TABLE former_names (name TEXT PRIMARY KEY, pairing TEXT NOT NULL) STRICT;
  ALTER TABLE agents ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
  UPDATE agents SET standing = json_set(standing, '$.speaks', 'signed') WHERE pairing = 'v2';
  UPDATE pins SET standing = json_set(standing, '$.speaks', 'signed')
    WHERE pairing = 'v2' AND standing IS NOT NULL;
  ALTER TABLE runs ADD COLUMN mode TEXT NOT NULL DEFAULT 'sync' CHECK (mode IN ('sync', 'async'));
  ALTER TABLE runs ADD COLUMN source_ip TEXT NOT NULL DEFAULT '';
  CREATE INDEX runs_by_end ON runs (completed_at);
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
  PRAGMA user_version = 6;
`;
