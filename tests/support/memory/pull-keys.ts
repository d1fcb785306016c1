import { okAsync } from 'neverthrow';
import type { CertificateId } from '../../../src/domain/deploy/certificate-id.js';
import type { PullKeys } from '../../../src/ports/pull-keys.js';

/** Keys in memory. */
export const memoryPullKeys = (): PullKeys & {
  readonly present: Map<CertificateId, string>;
  readonly former: Map<CertificateId, string>;
} => {
  const present = new Map<CertificateId, string>();
  const former = new Map<CertificateId, string>();
  return {
    present,
    former,
    prepare: () => okAsync({ tightenedFrom: undefined }),
    load: (id) => okAsync({ present: present.get(id), former: former.get(id) }),
    put: (id, pem) => {
      const before = present.get(id);
      if (before !== undefined) former.set(id, before);
      present.set(id, pem);
      return okAsync(undefined);
    },
    forgetFormer: (id) => {
      former.delete(id);
      return okAsync(undefined);
    },
  };
};
