import { err, ok, okAsync, type Result, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../../domain/trust/agent-record.js';
import { type StandingChange, worthKeeping } from '../../../domain/trust/agent-standing.js';
import type {
  Adoption,
  AgentChange,
  AgentListing,
  Enrolment,
  EnrolmentRefusal,
  Registry,
} from '../../../ports/registry.js';
import {
  agentNamed,
  agentsWhere,
  isPinRow,
  nameWithKey,
  type PinRow,
  pinJson,
  pinOf,
  readPins,
  readRecord,
  readRecords,
} from './agent-rows.js';
import { notBanned } from './banned-keys.js';
import { former, formerNames, remember } from './former-names.js';
import type { Database, StoreFailed, Transaction } from './transaction.js';

const unknownAgent = (name: string) =>
  failure('agent_unknown', `no agent is registered as "${name}"`, { name });

const knownRecord = (
  tx: Transaction,
  name: string,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  readRecord(tx, name).andThen((record) => (record === undefined ? err(unknownAgent(name)) : ok(record)));

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
  { name, endpoint, tags, standing, pairedAt }: Adoption,
  how: { readonly pairing: 'v1' | 'v2'; readonly adopted: 0 | 1 },
): Result<number, StoreFailed> => {
  const row = {
    name,
    endpoint: json(endpoint),
    ...how,
    paired_at: pairedAt,
    tags: json(tags),
    standing: json(standing),
  };
  return tx.change(tx.query.insertInto('agents').values(row));
};

const pairedByV2 = (
  tx: Transaction,
  name: string,
  existing: AgentRecord | undefined,
): Result<boolean, StoreFailed> =>
  existing?.pairing === 'v2' ? ok(true) : former(tx, name).map((row) => row?.pairing === 'v2');

/** What a pin is issued with, beside the certificate. */
interface Issue {
  readonly renewal: 0 | 1;
  readonly endpoint: string | null;
  readonly pairing: 'v1' | 'v2';
  readonly standing: string | null;
}

/** In place of the one that was issued for the same reason. */
const issuePin = (
  tx: Transaction,
  name: string,
  pin: Omit<KeyPin, 'state'>,
  issue: Issue,
): Result<number, StoreFailed> => {
  const row = {
    name,
    state: 'issued',
    spki_sha256: pin.spkiSha256,
    serial: pin.serial,
    not_after: pin.notAfter,
    issued_at: pin.issuedAt,
    ...issue,
  } as const;
  const older = tx.query
    .deleteFrom('pins')
    .where('name', '=', name)
    .where('state', '=', 'issued')
    .where('renewal', '=', issue.renewal);
  return tx.change(older).andThen(() => tx.change(tx.query.insertInto('pins').values(row)));
};

/** A key answers for one name only, and one that is banned for none. Every pin that is written is judged by this. */
const freeFor = (
  tx: Transaction,
  name: string,
  spkiSha256: string,
): Result<void, CtrlExecError<'agent_exists' | 'key_banned'> | StoreFailed> =>
  safeTry(function* () {
    yield* /* defence: banned-key-is-not-pinned */ notBanned(tx, spkiSha256);
    const holder = yield* nameWithKey(tx, spkiSha256);
    return holder === undefined || holder === name
      ? ok(undefined)
      : err(failure('agent_exists', `the key is already registered for "${holder}"`, { name: holder }));
  });

export const enrol = (
  tx: Transaction,
  enrolment: Enrolment,
): Result<AgentRecord, CtrlExecError<EnrolmentRefusal> | StoreFailed> =>
  safeTry(function* () {
    const { name, pin, pairing, at: pairedAt } = enrolment;
    yield* freeFor(tx, name, pin.spkiSha256);
    const existing = yield* readRecord(tx, name);
    if (pairing === 'v1' && (yield* pairedByV2(tx, name, existing)))
      return err(failure('downgrade_refused', `"${name}" has paired by version 2 before`, { name }));
    if (existing === undefined)
      yield* insertAgent(tx, { ...enrolment, tags: {}, pairedAt }, { pairing, adopted: 0 });
    else if (!enrolment.replace) {
      return err(failure('agent_exists', `"${name}" is already registered`, { name }));
    }
    const moved = pinEndpoint(enrolment, existing);
    const endpoint = moved === undefined ? null : json(moved);
    yield* issuePin(tx, name, pin, { renewal: 0, endpoint, pairing, standing: json(enrolment.standing) });
    const enrolled = yield* readRecord(tx, name);
    return enrolled === undefined ? err(tx.damaged()) : ok(enrolled);
  });

const adopt = (tx: Transaction, agents: readonly Adoption[]): Result<readonly string[], StoreFailed> =>
  safeTry(function* () {
    const added: string[] = [];
    for (const agent of agents) {
      if ((yield* readRecord(tx, agent.name)) ?? (yield* former(tx, agent.name))) continue;
      yield* insertAgent(tx, agent, { pairing: 'v1', adopted: 1 });
      added.push(agent.name);
    }
    return ok(added);
  });

/** Its key is known from now on. */
const seen = (tx: Transaction, name: string): Result<number, StoreFailed> =>
  tx.change(tx.query.updateTable('agents').set({ adopted: 0 }).where('name', '=', name));

const pin = (
  tx: Transaction,
  name: string,
  { spkiSha256, serial, notAfter, issuedAt }: Parameters<Registry['pin']>[1],
): Result<AgentRecord, CtrlExecError<'agent_unknown' | 'agent_exists' | 'key_banned'> | StoreFailed> =>
  safeTry(function* () {
    const { pins, pairing } = yield* knownRecord(tx, name);
    yield* freeFor(tx, name, spkiSha256);
    const present = pins.find(({ state }) => state === 'active');
    if (present === undefined)
      yield* tx.change(
        tx.query.insertInto('pins').values({
          name,
          state: 'active',
          renewal: 0,
          spki_sha256: spkiSha256,
          serial,
          not_after: notAfter,
          issued_at: issuedAt,
          endpoint: null,
          pairing,
          standing: null,
        }),
      );
    else if (present.spkiSha256 !== spkiSha256)
      return err(failure('agent_exists', `"${name}" has another key`, { name }));
    yield* seen(tx, name);
    return knownRecord(tx, name);
  });

const renew = (
  tx: Transaction,
  name: string,
  pin: Omit<KeyPin, 'state'>,
): Result<AgentRecord, CtrlExecError<'agent_unknown' | 'agent_exists' | 'key_banned'> | StoreFailed> =>
  safeTry(function* () {
    const { pairing, pins } = yield* knownRecord(tx, name);
    // Revoked while the renewal was under way: whoever has the old key must not get a new one pinned.
    for (const { state, spkiSha256 } of pins)
      if (state === 'active') yield* /* defence: banned-key-is-not-renewed */ notBanned(tx, spkiSha256);
    // defence: renewed-key-is-of-no-other
    yield* freeFor(tx, name, pin.spkiSha256);
    yield* issuePin(tx, name, pin, { renewal: 1, endpoint: null, pairing, standing: null });
    return knownRecord(tx, name);
  });

const pinsOf = (tx: Transaction, name: string) => tx.query.updateTable('pins').where('name', '=', name);

/** The renewed certificate takes the place of the one before; nothing else about the agent changes. */
const activateRenewal = (tx: Transaction, name: string): Result<number, StoreFailed> => {
  const before = tx.query.deleteFrom('pins').where('name', '=', name).where('state', '=', 'active');
  const renewed = pinsOf(tx, name).where('renewal', '=', 1);
  return tx.change(before).andThen(() => tx.change(renewed.set({ state: 'active', renewal: 0 })));
};

/** The key of a pairing becomes the only one, with all that the pairing brought. */
const activatePairing = (tx: Transaction, record: AgentRecord, pin: PinRow): Result<number, StoreFailed> => {
  const others = tx.query
    .deleteFrom('pins')
    .where('name', '=', record.name)
    .where((row) => row.or([row('state', '=', 'active'), row('renewal', '=', 1)]));
  const brought = {
    endpoint: json(pin.endpoint ?? record.endpoint),
    // Never back to v1: a name that once paired by version 2 is not taken over by version 1.
    pairing: record.pairing === 'v2' ? 'v2' : pin.pairing,
    paired_at: pin.issued_at,
    standing: json(pin.standing ?? record.standing),
    adopted: 0,
  };
  return tx
    .change(others)
    .andThen(() =>
      tx.change(pinsOf(tx, record.name).set({ state: 'active', endpoint: null, standing: null })),
    )
    .andThen(() => tx.change(tx.query.updateTable('agents').set(brought).where('name', '=', record.name)));
};

export const activate = (
  tx: Transaction,
  name: string,
  spkiSha256: string,
): Result<AgentRecord, CtrlExecError<'agent_unknown' | 'key_banned'> | StoreFailed> =>
  safeTry(function* () {
    const record = yield* knownRecord(tx, name);
    const pins = (yield* readPins(tx, agentNamed(tx, name))).get(name) ?? [];
    // An issued one comes behind the active one.
    const pin = pins.filter((candidate) => candidate.spki_sha256 === spkiSha256).at(-1);
    if (pin === undefined) return err(unknownAgent(name));
    // A key that is active already stays so, and whatever is on its way to replace it stays too.
    if (pin.state === 'active') return ok(record);
    yield* /* defence: banned-key-becomes-not-active */ notBanned(tx, spkiSha256);
    yield* pin.renewal === 1 ? activateRenewal(tx, name) : activatePairing(tx, record, pin);
    return knownRecord(tx, name);
  });

/** What an agent says of itself. */
export const writeSelfReport = (
  tx: Transaction,
  { name, standing, tags }: AgentRecord,
): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .updateTable('agents')
      .set({ standing: json(standing), tags: json(tags) })
      .where('name', '=', name),
  );

/** What is said already is not written again. */
const note = (
  tx: Transaction,
  name: string,
  change: StandingChange,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  safeTry(function* () {
    const record = yield* knownRecord(tx, name);
    const standing = worthKeeping(record.standing, change);
    if (standing === undefined) return ok(record);
    const noted = { ...record, standing };
    yield* writeSelfReport(tx, noted);
    return ok(noted);
  });

/** The agent and its pins under another name. */
const rename = (tx: Transaction, name: string, to: string): Result<void, StoreFailed> =>
  safeTry(function* () {
    const kept = ['endpoint', 'pairing', 'paired_at', 'tags', 'standing', 'adopted'] as const;
    const copied = tx.query
      .selectFrom('agents')
      .select((row) => [row.val(to).as('name'), ...kept])
      .where('name', '=', name);
    yield* tx.change(
      tx.query
        .insertInto('agents')
        .columns(['name', ...kept])
        .expression(copied),
    );
    yield* tx.change(tx.query.updateTable('pins').set({ name: to }).where('name', '=', name));
    yield* tx.change(tx.query.updateTable('issued_certificates').set({ name: to }).where('name', '=', name));
    yield* tx.change(tx.query.deleteFrom('agents').where('name', '=', name));
    return ok(undefined);
  });

const withoutSignature = ({ standing }: AgentRecord) => ({ ...standing, speaks: undefined });

const update = (
  tx: Transaction,
  name: string,
  { name: to = name, endpoint, tags, unsigned }: AgentChange,
): Result<AgentRecord, CtrlExecError<'agent_unknown' | 'agent_exists'> | StoreFailed> =>
  safeTry(function* () {
    const record = yield* knownRecord(tx, name);
    if (to !== name) {
      if ((yield* readRecord(tx, to)) !== undefined)
        return err(failure('agent_exists', `"${to}" is already registered`, { name: to }));
      yield* rename(tx, name, to);
      yield* remember(tx, record);
    }
    const change = {
      endpoint: json({ ...record.endpoint, ...endpoint }),
      tags: json(tags ?? record.tags),
      standing: json(unsigned ? withoutSignature(record) : record.standing),
    };
    yield* tx.change(tx.query.updateTable('agents').set(change).where('name', '=', to));
    return knownRecord(tx, to);
  });

const dropStaleEnrolments = (
  tx: Transaction,
  issuedBefore: number,
): Result<readonly { name: string; pin: KeyPin }[], StoreFailed> =>
  safeTry(function* () {
    const stale = tx.query
      .selectFrom('pins')
      .where('state', '=', 'issued')
      .where('renewal', '=', 0)
      .where('issued_at', '<', issuedBefore);
    const rows = yield* tx.rows(stale.selectAll().orderBy('name'), isPinRow, pinJson);
    yield* tx.change(
      tx.query
        .deleteFrom('pins')
        .where('state', '=', 'issued')
        .where('renewal', '=', 0)
        .where('issued_at', '<', issuedBefore),
    );
    const names = rows.map(({ name }) => name);
    yield* tx.change(
      tx.query
        .deleteFrom('agents')
        .where('name', 'in', names)
        .where('adopted', '=', 0)
        .where('name', 'not in', tx.query.selectFrom('pins').select('name')),
    );
    return ok(rows.map((row) => ({ name: row.name, pin: pinOf(row) })));
  });

const listed = (tx: Transaction, { names, tags, speaks, after, limit }: AgentListing) => {
  let query = agentsWhere(tx);
  if (names) query = query.where('name', 'in', names);
  if (tags && Object.keys(tags).length > 0) query = query.where(tx.holds('tags', tags));
  if (speaks) query = query.where(tx.holds('standing', { speaks }));
  if (after !== undefined) query = query.where('name', '>', after);
  return limit === undefined ? query : query.limit(limit);
};

export const remove = (
  tx: Transaction,
  name: string,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  safeTry(function* () {
    const record = yield* knownRecord(tx, name);
    yield* remember(tx, record);
    yield* tx.change(tx.query.deleteFrom('agents').where('name', '=', name));
    return ok(record);
  });

/** The agents, over one SQLite file. */
export const sqliteRegistry = (database: Database): Registry => ({
  list: (listing) => database.read('registry.list', (tx) => readRecords(tx, listing && listed(tx, listing))),

  find: (name) => database.read('registry.find', (tx) => readRecord(tx, name)),

  findByKey: (spkiSha256) =>
    database.read('registry.findByKey', (tx) =>
      nameWithKey(tx, spkiSha256).andThen((name) =>
        name === undefined ? ok(undefined) : readRecord(tx, name),
      ),
    ),

  enrol: (enrolment) => database.write('registry.enrol', (tx) => enrol(tx, enrolment)),

  activate: (name, spkiSha256) => database.write('registry.activate', (tx) => activate(tx, name, spkiSha256)),

  adopt: (agents) => database.write('registry.adopt', (tx) => adopt(tx, agents)),

  formerNames: () => database.read('registry.formerNames', formerNames),

  pin: (name, first) => database.write('registry.pin', (tx) => pin(tx, name, first)),

  renew: (name, renewed) => database.write('registry.renew', (tx) => renew(tx, name, renewed)),

  // Most contacts say nothing new: a reader stands in nobody's way, and does not wait for who writes.
  note: (name, change) =>
    database
      .read('registry.note', (tx) => knownRecord(tx, name))
      .andThen((record) =>
        worthKeeping(record.standing, change) === undefined
          ? okAsync(record)
          : database.write('registry.note', (tx) => note(tx, name, change)),
      ),

  dropStaleEnrolments: (issuedBefore) =>
    database.write('registry.dropStaleEnrolments', (tx) => dropStaleEnrolments(tx, issuedBefore)),

  update: (name, change) => database.write('registry.update', (tx) => update(tx, name, change)),

  remove: (name) => database.write('registry.remove', (tx) => remove(tx, name)),
});
