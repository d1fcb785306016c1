import { okAsync } from 'neverthrow';
import type { Revocation, Revocations } from '../../ports/revocations.js';

/** What was revoked, for as long as the process lives. */
export const memoryRevocations = (): Revocations => {
  const revoked = new Map<string, Revocation>();
  let revision = 0;
  return {
    current: () => {
      const entries = [...revoked.values()].sort((a, b) => (a.serial < b.serial ? -1 : 1));
      return okAsync({ revision, entries: structuredClone(entries) });
    },
    revision: () => okAsync(revision),
    has: (serial) => okAsync(revoked.has(serial)),
    raise: (to) => {
      revision = Math.max(revision, to);
      return okAsync({ revision });
    },
    add: (entries) => {
      const before = revoked.size;
      for (const { serial, name, revokedAt } of entries)
        if (!revoked.has(serial)) revoked.set(serial, { serial, name, revokedAt });
      if (revoked.size > before) revision += 1;
      return okAsync({ revision });
    },
  };
};
