import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/errors.js';

/** The documents that make up who a host is and whom it trusts. Text: PEM, or lines. */
export type KeyStoreItem =
  | 'ca-key'
  | 'ca-certificate'
  | 'dispatcher-key'
  | 'dispatcher-certificate'
  | 'pairing-key'
  | 'pairing-certificate'
  | 'agent-key'
  | 'agent-certificate'
  | 'trusted-dispatchers'
  | 'revoked-serials';

export type KeyStoreContents<I extends KeyStoreItem = KeyStoreItem> = {
  readonly [K in I]: string | undefined;
};

/**
 * Keeps identity documents.
 *
 * Contract: `replace` writes all of its items or none, also across a crash at any moment and for readers in other
 * processes: `read` never sees half of a `replace`. Keys are readable by their owner only, at every instant. When
 * `replace` returns Ok, its items survive a power cut. With `onlyIfAbsent`, an item of the change that is already there
 * makes it write nothing and answer `identity_exists`.
 */
export interface KeyStore {
  /** One consistent reading of several items; undefined for an item that is not there. */
  read<I extends KeyStoreItem>(
    items: readonly I[],
  ): ResultAsync<KeyStoreContents<I>, CtrlExecError<'file_failed'>>;
  replace(
    change: Partial<Record<KeyStoreItem, string>>,
    options?: { readonly onlyIfAbsent?: boolean },
  ): ResultAsync<void, CtrlExecError<'file_failed' | 'identity_exists'>>;
  /** Where an item is kept, for messages: a path, or a description. */
  location(item: KeyStoreItem): string;
  /** Whether every one of these items could be written now: tried, not guessed, and nothing is left behind. */
  checkWritable(items: readonly KeyStoreItem[]): ResultAsync<void, CtrlExecError<'file_failed'>>;
}
