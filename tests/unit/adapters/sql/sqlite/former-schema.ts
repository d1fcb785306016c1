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
