import { errAsync, ok, okAsync, safeTry } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { deniedByRevocation } from '../../domain/pairing/request.js';
import { type BannedKey, everyPinOf } from '../../domain/trust/banned-key.js';
import { type IssuedCertificate, keptAfterExpiry } from '../../domain/trust/issued-certificate.js';
import { maxRevoked } from '../../domain/trust/revocation-list.js';
import type { PairingRequests } from '../../ports/pairing.js';
import type { Registry } from '../../ports/registry.js';
import type { Revocation, Revocations } from '../../ports/revocations.js';
import type { RunStore } from '../../ports/run-store.js';

/** What the registry and the revocations both know. */
export interface KnownKeys {
  readonly banned: Map<string, BannedKey>;
  /** Certificates without a pin, by serial. */
  readonly issued: Map<string, IssuedCertificate>;
}

export const noKnownKeys = (): KnownKeys => ({ banned: new Map(), issued: new Map() });

interface Kept {
  readonly revocation: Revocation;
  readonly revision: number;
}

const bySerial = (a: { serial: string }, b: { serial: string }) => (a.serial < b.serial ? -1 : 1);

const tooLarge = () =>
  failure('too_large', `nothing was revoked: a revocation list holds at most ${maxRevoked} certificates`, {
    what: 'revocations',
    limit: maxRevoked,
  });

/** What was revoked, for as long as the process lives. */
export const memoryRevocations = (
  { banned, issued }: KnownKeys = noKnownKeys(),
  others?: {
    readonly registry: Pick<Registry, 'find'>;
    readonly pairing: Pick<PairingRequests, 'held' | 'replace'>;
    readonly runStore: Pick<RunStore, 'release'>;
  },
): Revocations => {
  let revoked: ReadonlyMap<string, Kept> = new Map();
  let revision = 0;

  const withNew = (entries: readonly Revocation[], at: number) => {
    const next = new Map(revoked);
    for (const { serial, name, revokedAt, notAfter } of entries)
      if (!next.has(serial)) {
        const known = notAfter !== undefined && { notAfter };
        next.set(serial, { revocation: { serial, name, revokedAt, ...known }, revision: at });
      }
    return { next, added: next.size - revoked.size };
  };

  const add: Revocations['add'] = (entries) => {
    const { next, added } = withNew(entries, revision + 1);
    if (added === 0) return okAsync({ revision });
    const before = (entries[0]?.revokedAt ?? 0) - keptAfterExpiry;
    for (const [serial, { revocation }] of next)
      if ((revocation.notAfter ?? before) < before && revocation.revokedAt < before) next.delete(serial);
    if (next.size > maxRevoked) return errAsync(tooLarge());
    for (const [serial, { notAfter }] of issued) if (notAfter < before) issued.delete(serial);
    revoked = next;
    revision += 1;
    return okAsync({ revision });
  };

  const found = (name: string): ReturnType<Registry['find']> =>
    others?.registry.find(name) ?? okAsync(undefined);

  return {
    current: () => {
      const entries = [...revoked.values()].map(({ revocation }) => revocation).sort(bySerial);
      return okAsync({ revision, entries: structuredClone(entries) });
    },
    revision: () => okAsync(revision),
    has: (serial) => okAsync(revoked.has(serial)),
    missingSince: (number) => {
      const missing = [...revoked.values()].filter((kept) => kept.revision > number);
      const times = missing.map(({ revocation }) => revocation.revokedAt);
      return okAsync(times.length === 0 ? undefined : Math.min(...times));
    },
    add,
    revoke: ({ entries, keys, agent: name, everyPin, at }) =>
      safeTry(async function* () {
        const record = name === undefined ? undefined : yield* found(name);
        const pinned = record && everyPin ? everyPinOf(record, at) : { entries: [], keys: [] };
        const { revision: number } = yield* add([...entries, ...pinned.entries]);
        for (const key of [...keys, ...pinned.keys])
          if (!banned.has(key.spkiSha256)) banned.set(key.spkiSha256, { ...key });
        if (name !== undefined && others) {
          const { pairing, runStore } = others;
          const silenced = record ? record.pins.every(({ spkiSha256 }) => banned.has(spkiSha256)) : everyPin;
          if (silenced) yield* runStore.release(name, undefined, at);
          for (const request of everyPin ? yield* pairing.held(at) : []) {
            const denied = deniedByRevocation(request, name);
            if (denied) yield* pairing.replace(denied);
          }
        }
        return ok({ revision: number, pins: everyPin ? (record?.pins ?? []) : [] });
      }),
    merge: (number, entries) => {
      const merged = Math.max(revision, number) + 1;
      const { next, added } = withNew(entries, merged);
      if (added === 0 && number <= revision) return okAsync({ revision, added });
      if (next.size > maxRevoked) return errAsync(tooLarge());
      revoked = next;
      revision = merged;
      return okAsync({ revision, added });
    },
    bannedKeys: () => {
      const keys = [...banned.values()].sort(
        (a, b) => a.bannedAt - b.bannedAt || (a.spkiSha256 < b.spkiSha256 ? -1 : 1),
      );
      return okAsync(structuredClone(keys));
    },
    banOf: (spkiSha256) => okAsync(structuredClone(banned.get(spkiSha256))),
    unban: (spkiSha256) => {
      const ban = banned.get(spkiSha256);
      banned.delete(spkiSha256);
      return okAsync(ban);
    },
    remember: (certificate) => {
      issued.set(certificate.serial, { ...certificate });
      return okAsync(undefined);
    },
    issued: (of) => {
      const wanted = [...issued.values()].filter((one) =>
        'serial' in of ? one.serial === of.serial : one.name === of.name,
      );
      return okAsync(structuredClone(wanted).sort(bySerial));
    },
  };
};
