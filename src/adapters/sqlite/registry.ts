import { err, ok, type Result, safeTry } from 'neverthrow';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/agent-record.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import type { Enrolment, Registry } from '../../ports/registry.js';
import type { Database, Transaction } from './database.js';
import type { StoreFailed } from './failures.js';
import { dictionaryOf, integer, oneOf, orNull, shape, text } from './shape.js';

interface AgentRow {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  readonly pairing: 'v1' | 'v2';
  readonly paired_at: number;
  readonly tags: Readonly<Record<string, string>>;
}

interface PinRow {
  readonly name: string;
  readonly state: 'active' | 'issued';
  readonly spki_sha256: string;
  readonly serial: string;
  readonly not_after: number;
  readonly issued_at: number;
  readonly endpoint: AgentEndpoint | null;
  /** How the key came here; the record takes it over when the pin becomes active. */
  readonly pairing: 'v1' | 'v2';
}

const isPairing = oneOf('v1', 'v2');

const isEndpoint = shape<AgentEndpoint>(
  { host: text, ip: text, port: integer, lookupBy: oneOf('hostname', 'ip') },
  {},
);

const isAgentRow = shape<AgentRow>(
  { name: text, endpoint: isEndpoint, pairing: isPairing, paired_at: integer, tags: dictionaryOf(text) },
  {},
);

const isPinRow = shape<PinRow>(
  {
    name: text,
    state: oneOf('active', 'issued'),
    spki_sha256: text,
    serial: text,
    not_after: integer,
    issued_at: integer,
    endpoint: orNull(isEndpoint),
    pairing: isPairing,
  },
  {},
);

const pinOf = (row: PinRow): KeyPin => ({
  spkiSha256: row.spki_sha256,
  state: row.state,
  serial: row.serial,
  notAfter: row.not_after,
  issuedAt: row.issued_at,
  ...(row.endpoint === null ? {} : { endpoint: row.endpoint }),
});

const recordOf = (row: AgentRow, pins: readonly PinRow[]): AgentRecord => ({
  name: row.name,
  endpoint: row.endpoint,
  pins: pins.map(pinOf),
  pairing: row.pairing,
  pairedAt: row.paired_at,
  tags: row.tags,
});

/** Of one agent or of all. A name has at most one pin of each state, and the active one came first. */
const readPins = (
  tx: Transaction,
  name?: string,
): Result<ReadonlyMap<string, readonly PinRow[]>, StoreFailed> => {
  const all = tx.query.selectFrom('pins').selectAll().orderBy('name').orderBy('state');
  return tx
    .rows(name === undefined ? all : all.where('name', '=', name), isPinRow, ['endpoint'])
    .map((rows) => {
      const byName = new Map<string, PinRow[]>();
      for (const row of rows) byName.set(row.name, [...(byName.get(row.name) ?? []), row]);
      return byName;
    });
};

const readRecords = (tx: Transaction, name?: string): Result<readonly AgentRecord[], StoreFailed> =>
  safeTry(function* () {
    const all = tx.query.selectFrom('agents').selectAll().orderBy('name');
    const query = name === undefined ? all : all.where('name', '=', name);
    const agents = yield* tx.rows(query, isAgentRow, ['endpoint', 'tags']);
    const pins = yield* readPins(tx, name);
    const records = agents.map((row) => recordOf(row, pins.get(row.name) ?? []));
    return records.every((record) => record.pins.length > 0) ? ok(records) : err(tx.damaged());
  });

const readRecord = (tx: Transaction, name: string): Result<AgentRecord | undefined, StoreFailed> =>
  readRecords(tx, name).map(([record]) => record);

const unknownAgent = (name: string) =>
  failure('agent_unknown', `no agent is registered as "${name}"`, { name });

const knownRecord = (
  tx: Transaction,
  name: string,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  readRecord(tx, name).andThen((record) => (record === undefined ? err(unknownAgent(name)) : ok(record)));

const nameWithKey = (tx: Transaction, spkiSha256: string): Result<string | undefined, StoreFailed> =>
  tx
    .rows(
      tx.query.selectFrom('pins').select('name').where('spki_sha256', '=', spkiSha256).limit(1),
      shape<{ name: string }>({ name: text }, {}),
    )
    .map(([row]) => row?.name);

const sameEndpoint = (a: AgentEndpoint, b: AgentEndpoint): boolean =>
  a.host === b.host && a.ip === b.ip && a.port === b.port && a.lookupBy === b.lookupBy;

/** An enrolment beside an existing record brings its endpoint along when that is another one. */
const pinEndpoint = (enrolment: Enrolment, existing: AgentRecord | undefined): AgentEndpoint | undefined => {
  if (enrolment.pin.endpoint !== undefined) return enrolment.pin.endpoint;
  if (existing === undefined || sameEndpoint(existing.endpoint, enrolment.endpoint)) return undefined;
  return enrolment.endpoint;
};

const json = (value: unknown): string => JSON.stringify(value);

const insertAgent = (
  tx: Transaction,
  { name, endpoint, pairing, at }: Enrolment,
): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .insertInto('agents')
      .values({ name, endpoint: json(endpoint), pairing, paired_at: at, tags: '{}' }),
  );

const enrol = (
  tx: Transaction,
  enrolment: Enrolment,
): Result<AgentRecord, CtrlExecError<'agent_exists'> | StoreFailed> =>
  safeTry(function* () {
    const { name, pin } = enrolment;
    const holder = yield* nameWithKey(tx, pin.spkiSha256);
    if (holder !== undefined && holder !== name) {
      return err(failure('agent_exists', `the key is already registered for "${holder}"`, { name: holder }));
    }
    const existing = yield* readRecord(tx, name);
    if (existing === undefined) yield* insertAgent(tx, enrolment);
    else if (!enrolment.replace) {
      return err(failure('agent_exists', `"${name}" is already registered`, { name }));
    }
    const endpoint = pinEndpoint(enrolment, existing);
    yield* tx.change(tx.query.deleteFrom('pins').where('name', '=', name).where('state', '=', 'issued'));
    yield* tx.change(
      tx.query.insertInto('pins').values({
        name,
        state: 'issued',
        spki_sha256: pin.spkiSha256,
        serial: pin.serial,
        not_after: pin.notAfter,
        issued_at: pin.issuedAt,
        endpoint: endpoint === undefined ? null : json(endpoint),
        pairing: enrolment.pairing,
      }),
    );
    const enrolled = yield* readRecord(tx, name);
    return enrolled === undefined ? err(tx.damaged()) : ok(enrolled);
  });

const activate = (
  tx: Transaction,
  name: string,
  spkiSha256: string,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  safeTry(function* () {
    const record = yield* knownRecord(tx, name);
    const pins = (yield* readPins(tx, name)).get(name) ?? [];
    const matching = pins.filter((pin) => pin.spki_sha256 === spkiSha256);
    const issued = matching.find((pin) => pin.state === 'issued');
    // A key that is active already stays so, and whatever is on its way to replace it stays too.
    if (issued === undefined) return matching.length > 0 ? ok(record) : err(unknownAgent(name));
    yield* tx.change(tx.query.deleteFrom('pins').where('name', '=', name).where('state', '=', 'active'));
    yield* tx.change(
      tx.query.updateTable('pins').set({ state: 'active', endpoint: null }).where('name', '=', name),
    );
    yield* tx.change(
      tx.query
        .updateTable('agents')
        .set({
          endpoint: json(issued.endpoint ?? record.endpoint),
          // Never back to v1: a name that once paired by version 2 is not taken over by version 1.
          pairing: record.pairing === 'v2' ? 'v2' : issued.pairing,
        })
        .where('name', '=', name),
    );
    return knownRecord(tx, name);
  });

const dropStaleEnrolments = (
  tx: Transaction,
  issuedBefore: number,
): Result<readonly { name: string; pin: KeyPin }[], StoreFailed> =>
  safeTry(function* () {
    const stale = tx.query
      .selectFrom('pins')
      .where('state', '=', 'issued')
      .where('issued_at', '<', issuedBefore);
    const rows = yield* tx.rows(stale.selectAll().orderBy('name'), isPinRow, ['endpoint']);
    yield* tx.change(
      tx.query.deleteFrom('pins').where('state', '=', 'issued').where('issued_at', '<', issuedBefore),
    );
    yield* tx.change(
      tx.query.deleteFrom('agents').where('name', 'not in', tx.query.selectFrom('pins').select('name')),
    );
    return ok(rows.map((row) => ({ name: row.name, pin: pinOf(row) })));
  });

/** The agents, over one SQLite file. */
export const sqliteRegistry = (database: Database): Registry => ({
  list: () => database.read('registry.list', (tx) => readRecords(tx)),

  find: (name) => database.read('registry.find', (tx) => readRecord(tx, name)),

  findByKey: (spkiSha256) =>
    database.read('registry.findByKey', (tx) =>
      nameWithKey(tx, spkiSha256).andThen((name) =>
        name === undefined ? ok(undefined) : readRecord(tx, name),
      ),
    ),

  enrol: (enrolment) => database.write('registry.enrol', (tx) => enrol(tx, enrolment)),

  activate: (name, spkiSha256) => database.write('registry.activate', (tx) => activate(tx, name, spkiSha256)),

  dropStaleEnrolments: (issuedBefore) =>
    database.write('registry.dropStaleEnrolments', (tx) => dropStaleEnrolments(tx, issuedBefore)),

  update: (name, { endpoint, tags }) =>
    database.write('registry.update', (tx) =>
      safeTry(function* () {
        const record = yield* knownRecord(tx, name);
        const change = { endpoint: json(endpoint ?? record.endpoint), tags: json(tags ?? record.tags) };
        yield* tx.change(tx.query.updateTable('agents').set(change).where('name', '=', name));
        return knownRecord(tx, name);
      }),
    ),

  rename: (name, to) =>
    database.write('registry.rename', (tx) =>
      safeTry(function* () {
        yield* knownRecord(tx, name);
        if ((yield* readRecord(tx, to)) !== undefined)
          return err(failure('agent_exists', `"${to}" is already registered`, { name: to }));
        const copied = tx.query
          .selectFrom('agents')
          .select((row) => [row.val(to).as('name'), 'endpoint', 'pairing', 'paired_at', 'tags'])
          .where('name', '=', name);
        yield* tx.change(
          tx.query
            .insertInto('agents')
            .columns(['name', 'endpoint', 'pairing', 'paired_at', 'tags'])
            .expression(copied),
        );
        yield* tx.change(tx.query.updateTable('pins').set({ name: to }).where('name', '=', name));
        yield* tx.change(tx.query.deleteFrom('agents').where('name', '=', name));
        return knownRecord(tx, to);
      }),
    ),

  remove: (name) =>
    database.write('registry.remove', (tx) =>
      safeTry(function* () {
        const record = yield* knownRecord(tx, name);
        yield* tx.change(tx.query.deleteFrom('agents').where('name', '=', name));
        return ok(record);
      }),
    ),
});
