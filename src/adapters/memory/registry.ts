import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { matchesTags } from '../../domain/runs/tags.js';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/trust/agent-record.js';
import { worthKeeping } from '../../domain/trust/agent-standing.js';
import { keyBanned } from '../../domain/trust/banned-key.js';
import type { Enrolment, Registry } from '../../ports/registry.js';
import { type KnownKeys, noKnownKeys } from './revocations.js';

/** What the pin of a pairing brings along when it becomes active. */
type Brought = Pick<Enrolment, 'pairing' | 'standing'>;

interface Entry {
  readonly record: AgentRecord;
  readonly brought: Brought;
}

const sameEndpoint = (a: AgentEndpoint, b: AgentEndpoint): boolean =>
  a.host === b.host && a.ip === b.ip && a.port === b.port && a.lookupBy === b.lookupBy;

const unknownAgent = (name: string) =>
  failure('agent_unknown', `no agent is registered as "${name}"`, { name });

const active = ({ state }: KeyPin): boolean => state === 'active';
const renewed = ({ renewal }: KeyPin): boolean => renewal === true;
const paired = (pin: KeyPin): boolean => !active(pin) && !renewed(pin);

const issuedPin = ({ spkiSha256, serial, notAfter, issuedAt }: Omit<KeyPin, 'state'>): KeyPin => ({
  spkiSha256,
  state: 'issued',
  serial,
  notAfter,
  issuedAt,
});

/** The pin of a pairing; beside an existing record it brings the endpoint along when that is another one. */
const pairedPin = ({ pin, endpoint }: Enrolment, existing: AgentRecord | undefined): KeyPin => {
  const moves = existing !== undefined && !sameEndpoint(existing.endpoint, endpoint);
  const brought = pin.endpoint ?? (moves ? endpoint : undefined);
  return { ...issuedPin(pin), ...(brought && { endpoint: brought }) };
};

const enrolled = (enrolment: Enrolment, existing: AgentRecord | undefined): AgentRecord => {
  const pin = pairedPin(enrolment, existing);
  if (existing !== undefined)
    return { ...existing, pins: [...existing.pins.filter((other) => !paired(other)), pin] };
  const { name, endpoint, pairing, standing, at } = enrolment;
  return { name, endpoint, pins: [pin], pairing, pairedAt: at, tags: {}, standing };
};

/** With the pin of a renewal in place of the one that was active. */
const withRenewal = ({ record }: Entry, { renewal: _, ...pin }: KeyPin): AgentRecord => ({
  ...record,
  pins: [{ ...pin, state: 'active' }, ...record.pins.filter(paired)],
});

/** With the pin of a pairing become the only one; never back to v1. */
const withPairing = (
  { record: { adopted: _, ...record }, brought }: Entry,
  { endpoint, ...pin }: KeyPin,
): AgentRecord => ({
  ...record,
  endpoint: endpoint ?? record.endpoint,
  pins: [{ ...pin, state: 'active' }],
  pairing: record.pairing === 'v2' ? 'v2' : brought.pairing,
  pairedAt: pin.issuedAt,
  standing: brought.standing,
});

/** The agents, for as long as the process lives. */
export const memoryRegistry = ({ banned, issued }: KnownKeys = noKnownKeys()): Registry => {
  const agents = new Map<string, Entry>();
  /** Names that were registered, and how they had paired at last. */
  const former = new Map<string, 'v1' | 'v2'>();
  const remember = ({ name, pairing }: AgentRecord) => {
    // Never back to v1.
    former.set(name, former.get(name) === 'v2' ? 'v2' : pairing);
  };
  /** The certificates of pins that go are kept. */
  const keepPins = (before: AgentRecord | undefined, after: readonly KeyPin[]) => {
    if (before === undefined) return;
    for (const { serial, spkiSha256, notAfter } of before.pins)
      if (!after.some((pin) => pin.serial === serial))
        issued.set(serial, { serial, name: before.name, spkiSha256, notAfter });
  };

  const records = (): AgentRecord[] =>
    [...agents.values()].map(({ record }) => record).sort((a, b) => (a.name < b.name ? -1 : 1));

  const withKey = (spkiSha256: string): AgentRecord | undefined =>
    records().find(({ pins }) => pins.some((pin) => pin.spkiSha256 === spkiSha256));

  // Copies both ways: nobody else changes what is kept.
  const keep = (record: AgentRecord, { pairing, standing }: Brought): AgentRecord => {
    keepPins(agents.get(record.name)?.record, record.pins);
    agents.set(record.name, structuredClone({ record, brought: { pairing, standing } }));
    return structuredClone(record);
  };

  const ban = (spkiSha256: string) => {
    const known = banned.get(spkiSha256);
    return known && keyBanned(known);
  };

  /** Why a key cannot be pinned for a name: it is banned, or answers for another one. */
  const notFree = (name: string, spkiSha256: string) => {
    const refused = ban(spkiSha256);
    if (refused) return refused;
    const holder = withKey(spkiSha256)?.name;
    return holder === undefined || holder === name
      ? undefined
      : failure('agent_exists', `the key is already registered for "${holder}"`, { name: holder });
  };

  return {
    list: ({ names, tags = {}, speaks, after, limit } = {}) => {
      const met = records().filter(
        (record) =>
          (names?.includes(record.name) ?? true) &&
          matchesTags(record.tags, tags) &&
          (speaks === undefined || record.standing.speaks === speaks) &&
          (after === undefined || record.name > after),
      );
      return okAsync(structuredClone(met.slice(0, limit)));
    },

    find: (name) => okAsync(structuredClone(agents.get(name)?.record)),

    findByKey: (spkiSha256) => okAsync(structuredClone(withKey(spkiSha256))),

    enrol: (enrolment) => {
      const { name, pin, replace } = enrolment;
      const taken = notFree(name, pin.spkiSha256);
      if (taken) return errAsync(taken);
      const existing = agents.get(name)?.record;
      if (enrolment.pairing === 'v1' && (existing?.pairing === 'v2' || former.get(name) === 'v2'))
        return errAsync(failure('downgrade_refused', `"${name}" has paired by version 2 before`, { name }));
      if (existing !== undefined && !replace) {
        return errAsync(failure('agent_exists', `"${name}" is already registered`, { name }));
      }
      return okAsync(keep(enrolled(enrolment, existing), enrolment));
    },

    adopt: (adopted) => {
      const added = adopted.filter(({ name }) => !agents.has(name) && !former.has(name));
      for (const agent of added)
        keep(
          { ...agent, pins: [], pairing: 'v1', adopted: true },
          { pairing: 'v1', standing: agent.standing },
        );
      return okAsync(added.map(({ name }) => name));
    },

    formerNames: () => okAsync([...former.keys()].filter((name) => !agents.has(name)).sort()),

    pin: (name, { spkiSha256, serial, notAfter, issuedAt }) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      const taken = notFree(name, spkiSha256);
      if (taken) return errAsync(taken);
      const { record, brought } = entry;
      const present = record.pins.find(active);
      if (present === undefined) {
        const { adopted: _, ...known } = record;
        const first: KeyPin = { spkiSha256, state: 'active', serial, notAfter, issuedAt };
        return okAsync(keep({ ...known, pins: [first, ...record.pins] }, brought));
      }
      if (present.spkiSha256 === spkiSha256) return okAsync(structuredClone(record));
      return errAsync(failure('agent_exists', `"${name}" has another key`, { name }));
    },

    activate: (name, spkiSha256) => {
      const entry = agents.get(name);
      // An issued one comes behind the active one.
      const pin = entry?.record.pins.filter((candidate) => candidate.spkiSha256 === spkiSha256).at(-1);
      if (entry === undefined || pin === undefined) return errAsync(unknownAgent(name));
      // A key that is active already stays so, and whatever is on its way to replace it stays too.
      if (active(pin)) return okAsync(structuredClone(entry.record));
      const refused = ban(spkiSha256);
      if (refused) return errAsync(refused);
      return okAsync(keep(renewed(pin) ? withRenewal(entry, pin) : withPairing(entry, pin), entry.brought));
    },

    renew: (name, pin) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      const { record, brought } = entry;
      const current = record.pins.find(active);
      const taken = (current && ban(current.spkiSha256)) ?? notFree(name, pin.spkiSha256);
      if (taken) return errAsync(taken);
      const renewal: KeyPin = { ...issuedPin(pin), renewal: true };
      const pins = [...record.pins.filter(active), renewal, ...record.pins.filter(paired)];
      return okAsync(keep({ ...record, pins }, brought));
    },

    note: (name, change) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      const { record, brought } = entry;
      const standing = worthKeeping(record.standing, change);
      return okAsync(
        standing === undefined ? structuredClone(record) : keep({ ...record, standing }, brought),
      );
    },

    dropStaleEnrolments: (issuedBefore) => {
      const dropped: { name: string; pin: KeyPin }[] = [];
      for (const record of records()) {
        const stale = record.pins.filter((pin) => paired(pin) && pin.issuedAt < issuedBefore);
        if (stale.length === 0) continue;
        dropped.push(...stale.map((pin) => ({ name: record.name, pin })));
        const pins = record.pins.filter((pin) => !stale.includes(pin));
        keepPins(record, pins);
        if (pins.length === 0 && !record.adopted) agents.delete(record.name);
        else keep({ ...record, pins }, record);
      }
      return okAsync(structuredClone(dropped));
    },

    update: (name, { name: to = name, endpoint, tags, unsigned }) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      if (to !== name && agents.has(to))
        return errAsync(failure('agent_exists', `"${to}" is already registered`, { name: to }));
      const { record, brought } = entry;
      agents.delete(name);
      if (to !== name) {
        remember(record);
        for (const one of issued.values())
          if (one.name === name) issued.set(one.serial, { ...one, name: to });
      }
      const changed = {
        name: to,
        endpoint: { ...record.endpoint, ...endpoint },
        tags: tags ?? record.tags,
        standing: unsigned ? { ...record.standing, speaks: undefined } : record.standing,
      };
      return okAsync(keep({ ...record, ...changed }, brought));
    },

    remove: (name) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      agents.delete(name);
      keepPins(entry.record, []);
      remember(entry.record);
      return okAsync(entry.record);
    },
  };
};
