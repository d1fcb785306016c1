import { errAsync, okAsync } from 'neverthrow';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/agent-record.js';
import { failure } from '../../domain/errors.js';
import type { Enrolment, Registry } from '../../ports/registry.js';

/** A record, and how the key of its issued pin came here. */
interface Entry {
  readonly record: AgentRecord;
  readonly pairing: 'v1' | 'v2';
}

const sameEndpoint = (a: AgentEndpoint, b: AgentEndpoint): boolean =>
  a.host === b.host && a.ip === b.ip && a.port === b.port && a.lookupBy === b.lookupBy;

const unknownAgent = (name: string) =>
  failure('agent_unknown', `no agent is registered as "${name}"`, { name });

const active = (pin: KeyPin): boolean => pin.state === 'active';

/** The issued pin; beside an existing record it brings the endpoint along when that is another one. */
const issuedPin = ({ pin, endpoint }: Enrolment, existing: AgentRecord | undefined): KeyPin => {
  const moves = existing !== undefined && !sameEndpoint(existing.endpoint, endpoint);
  return { ...(moves ? { endpoint } : {}), ...pin, state: 'issued' };
};

const enrolled = (enrolment: Enrolment, existing: AgentRecord | undefined): AgentRecord => {
  const pin = issuedPin(enrolment, existing);
  if (existing !== undefined) return { ...existing, pins: [...existing.pins.filter(active), pin] };
  const { name, endpoint, pairing, at } = enrolment;
  return { name, endpoint, pins: [pin], pairing, pairedAt: at, tags: {} };
};

/** With this issued pin become the only one; never back to v1. */
const activated = ({ record, pairing }: Entry, { endpoint, ...pin }: KeyPin): AgentRecord => ({
  ...record,
  endpoint: endpoint ?? record.endpoint,
  pins: [{ ...pin, state: 'active' }],
  pairing: record.pairing === 'v2' ? 'v2' : pairing,
});

/** The agents, for as long as the process lives. */
export const memoryRegistry = (): Registry => {
  const agents = new Map<string, Entry>();

  const records = (): AgentRecord[] =>
    [...agents.values()].map(({ record }) => record).sort((a, b) => (a.name < b.name ? -1 : 1));

  const withKey = (spkiSha256: string): AgentRecord | undefined =>
    records().find(({ pins }) => pins.some((pin) => pin.spkiSha256 === spkiSha256));

  // Copies both ways: nobody else changes what is kept.
  const keep = (record: AgentRecord, pairing: 'v1' | 'v2'): AgentRecord => {
    agents.set(record.name, structuredClone({ record, pairing }));
    return structuredClone(record);
  };

  return {
    list: () => okAsync(structuredClone(records())),

    find: (name) => okAsync(structuredClone(agents.get(name)?.record)),

    findByKey: (spkiSha256) => okAsync(structuredClone(withKey(spkiSha256))),

    enrol: (enrolment) => {
      const { name, pin, replace, pairing } = enrolment;
      const holder = withKey(pin.spkiSha256)?.name;
      if (holder !== undefined && holder !== name) {
        return errAsync(
          failure('agent_exists', `the key is already registered for "${holder}"`, { name: holder }),
        );
      }
      const existing = agents.get(name)?.record;
      if (existing !== undefined && !replace) {
        return errAsync(failure('agent_exists', `"${name}" is already registered`, { name }));
      }
      return okAsync(keep(enrolled(enrolment, existing), pairing));
    },

    activate: (name, spkiSha256) => {
      const entry = agents.get(name);
      const pins = entry?.record.pins.filter((pin) => pin.spkiSha256 === spkiSha256) ?? [];
      if (entry === undefined || pins.length === 0) return errAsync(unknownAgent(name));
      const issued = pins.find((pin) => !active(pin));
      // A key that is active already stays so, and whatever is on its way to replace it stays too.
      if (issued === undefined) return okAsync(structuredClone(entry.record));
      return okAsync(keep(activated(entry, issued), entry.pairing));
    },

    dropStaleEnrolments: (issuedBefore) => {
      const dropped: { name: string; pin: KeyPin }[] = [];
      for (const record of records()) {
        const stale = record.pins.filter((pin) => !active(pin) && pin.issuedAt < issuedBefore);
        if (stale.length === 0) continue;
        dropped.push(...stale.map((pin) => ({ name: record.name, pin })));
        const pins = record.pins.filter((pin) => !stale.includes(pin));
        if (pins.length === 0) agents.delete(record.name);
        else keep({ ...record, pins }, record.pairing);
      }
      return okAsync(structuredClone(dropped));
    },

    update: (name, { endpoint, tags }) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      const { record, pairing } = entry;
      return okAsync(
        keep({ ...record, endpoint: endpoint ?? record.endpoint, tags: tags ?? record.tags }, pairing),
      );
    },

    rename: (name, to) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      if (agents.has(to))
        return errAsync(failure('agent_exists', `"${to}" is already registered`, { name: to }));
      agents.delete(name);
      return okAsync(keep({ ...entry.record, name: to }, entry.pairing));
    },

    remove: (name) => {
      const entry = agents.get(name);
      if (entry === undefined) return errAsync(unknownAgent(name));
      agents.delete(name);
      return okAsync(entry.record);
    },
  };
};
