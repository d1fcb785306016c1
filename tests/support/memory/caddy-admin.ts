import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../../src/domain/core/errors.js';
import type { CaddyAdmin } from '../../../src/ports/caddy-admin.js';

const status = (code: number) =>
  errAsync(failure('refused', `answered ${code}`, { status: code, reason: String(code) }));

/** A Caddy server in memory that takes any document that `accepts` accepts. */
export const memoryCaddyAdmin = (
  initial: unknown = null,
  accepts: (document: unknown) => boolean = () => true,
): CaddyAdmin & { document(): unknown } => {
  let current = JSON.stringify(initial);
  let revision = 1;
  return {
    document: () => JSON.parse(current),
    read: () => okAsync({ document: JSON.parse(current) as unknown, revision: String(revision) }),
    replace: (_place, configuration) => {
      if (configuration.revision !== undefined && configuration.revision !== String(revision))
        return status(412);
      if (!accepts(configuration.document)) return status(400);
      current = JSON.stringify(configuration.document);
      revision += 1;
      return okAsync(undefined);
    },
  };
};
