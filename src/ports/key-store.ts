import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** The documents of the CA. Text: PEM. */
export type CaItem =
  | 'ca-key'
  | 'ca-certificate'
  /** Of the CA before the current one, while it is being replaced. */
  | 'ca-previous-key';

/** The documents that make up who a dispatcher is. Text: PEM. */
export type DispatcherItem =
  | CaItem
  | 'dispatcher-key'
  | 'dispatcher-certificate'
  /** The dispatcher's next identity, from when it is announced until it is used. */
  | 'dispatcher-next-key'
  | 'dispatcher-next-certificate'
  /** Its identity before the present one, until the overlap ends. */
  | 'dispatcher-previous-key'
  | 'dispatcher-previous-certificate'
  /** Rotations of the dispatcher's identity, JSON: see domain/rotation.ts. */
  | 'rotation'
  | 'pairing-key'
  | 'pairing-certificate';

/** The documents that make up who an agent is and whom it trusts. Text: PEM, or lines. */
export type AgentItem =
  | 'ca-certificate'
  | 'agent-key'
  | 'agent-certificate'
  | 'trusted-dispatchers'
  /** Certificates of trusted dispatchers that sign their requests, PEM blocks: their keys judge successions. */
  | 'dispatcher-certificates'
  /** Which trusted serial brought which, lines `<serial> <brought by serial>`. */
  | 'trust-origins'
  /** Ids of dispatchers that had signed a request, one a line. Version 0.1 wrote it; it is read, and removed with the next change. */
  | 'signing-dispatchers'
  /** Revocation lists that an agent holds, one PEM block a CA. */
  | 'agent-revocation-lists'
  | 'revoked-serials'
  /** Serials that `revoked-serials` gave, one a line: they hold on where that becomes damaged. */
  | 'refused-serials';

/** The documents of either role. */
export type KeyStoreItem = DispatcherItem | AgentItem;

/** What a change gives its items; `null` removes one. */
export type KeyStoreChange<Item extends KeyStoreItem = KeyStoreItem> = Partial<Record<Item, string | null>>;

/** What was read: each item that was asked for, undefined where it is not there. */
export type KeyStoreContents<I extends KeyStoreItem = KeyStoreItem> = {
  readonly [K in I]: string | undefined;
};

/**
 * Keeps identity documents: those of a dispatcher, or those of an agent. A role has no access to the items of the other.
 *
 * Contract: `replace` writes all of its items or none, also across a crash at any moment and for readers in other
 * processes: `read` never sees half of a `replace`. Keys are readable by their owner only, at every instant. When
 * `replace` returns Ok, its items survive a power cut. With `onlyIfAbsent`, an item of the change that is already there
 * makes it write nothing and answer `identity_exists`. Removing an item that is not there is nothing.
 */
export interface KeyStore<in Item extends KeyStoreItem = KeyStoreItem> {
  /** One consistent reading of several items; undefined for an item that is not there. */
  read<I extends Item>(items: readonly I[]): ResultAsync<KeyStoreContents<I>, CtrlExecError<'file_failed'>>;
  /** Writes and removes items, all or none. */
  replace(
    change: KeyStoreChange<Item>,
    options?: { readonly onlyIfAbsent?: boolean },
  ): ResultAsync<void, CtrlExecError<'file_failed' | 'identity_exists'>>;
  /** Where an item is kept, for messages: a path, or a description. */
  location(item: Item): string;
  /** Every path that decides what is read, the journal included; none where nothing is kept in files. */
  paths(): readonly string[];
  /** Whether every one of these items could be written now: tried, not guessed, and nothing is left behind. */
  checkWritable(items: readonly Item[]): ResultAsync<void, CtrlExecError<'file_failed'>>;
}
