import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import type { KeyStore, KeyStoreContents, KeyStoreItem } from '../../ports/key-store.js';

/** Keeps identity documents as long as the process lives. */
export const memoryKeyStore = (): KeyStore => {
  const kept = new Map<KeyStoreItem, string>();
  const location = (item: KeyStoreItem) => `${item} in memory`;
  return {
    read: <I extends KeyStoreItem>(items: readonly I[]) =>
      okAsync(Object.fromEntries(items.map((item) => [item, kept.get(item)])) as KeyStoreContents<I>),
    replace: (change, options) => {
      const items = Object.keys(change) as KeyStoreItem[];
      const present = items.find((item) => typeof change[item] === 'string' && kept.has(item));
      if (options?.onlyIfAbsent === true && present !== undefined) {
        const reason = `${present} already exists: ${location(present)}`;
        return errAsync(failure('identity_exists', `${reason}; it is not overwritten`, { reason }));
      }
      for (const item of items) {
        const text = change[item];
        if (text === null) kept.delete(item);
        else if (text !== undefined) kept.set(item, text);
      }
      return okAsync(undefined);
    },
    location,
    paths: () => [],
    checkWritable: () => okAsync(undefined),
  };
};
