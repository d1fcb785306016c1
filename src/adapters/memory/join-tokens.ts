import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import type { JoinTokenRecord } from '../../domain/pairing/join-token.js';
import type { JoinTokens } from '../../ports/join-tokens.js';

/** The join tokens, for as long as the process lives. */
export const memoryJoinTokens = (): JoinTokens => {
  const tokens = new Map<string, JoinTokenRecord>();
  return {
    add: (token) => {
      if (tokens.has(token.id))
        return errAsync(
          failure('store_failed', 'there is a join token of this id already', {
            operation: 'join-token.add',
            reason: 'exists',
          }),
        );
      tokens.set(token.id, { ...token });
      return okAsync(undefined);
    },
    find: (id) => okAsync(structuredClone(tokens.get(id))),
    list: () =>
      okAsync(
        structuredClone(
          [...tokens.values()].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)),
        ),
      ),
    bind: (id, csrSha256) => {
      const token = tokens.get(id);
      if (!token) return okAsync(false);
      if (token.boundTo === undefined) tokens.set(id, { ...token, boundTo: csrSha256 });
      return okAsync((token.boundTo ?? csrSha256) === csrSha256);
    },
    burnBound: (name, at) => {
      for (const token of tokens.values())
        if (token.name === name && token.boundTo !== undefined && token.burntAt === undefined)
          tokens.set(token.id, { ...token, burntAt: at });
      return okAsync(undefined);
    },
    purge: (expiredBefore) => {
      const old = [...tokens.values()].filter((token) => token.expiresAt < expiredBefore);
      for (const { id } of old) tokens.delete(id);
      return okAsync(old.length);
    },
  };
};
