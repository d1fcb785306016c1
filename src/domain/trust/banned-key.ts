import { type CtrlExecError, failure } from '../core/errors.js';
import type { AgentRecord } from './agent-record.js';

/** A key that is pinned for nobody any more, until a person lifts the ban. */
export interface BannedKey {
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hex. */
  readonly spkiSha256: string;
  /** The agent that had the key. */
  readonly name: string;
  /** Epoch milliseconds. */
  readonly bannedAt: number;
}

/** What revoking every pin of an agent writes down. @param at epoch milliseconds */
export const everyPinOf = ({ name, pins }: Pick<AgentRecord, 'name' | 'pins'>, at: number) => ({
  entries: pins.map(({ serial, notAfter }) => ({ serial, name, revokedAt: at, notAfter })),
  keys: pins.map(({ spkiSha256 }): BannedKey => ({ spkiSha256, name, bannedAt: at })),
});

/** Why such a key is refused, and what to do. */
export const keyBanned = ({ spkiSha256, name }: BannedKey): CtrlExecError<'key_banned'> =>
  failure(
    'key_banned',
    `the key of this host was revoked as that of ${name} and is banned: pair with --new-key at the agent, or lift the ban with \`ctrl-exec unban ${spkiSha256}\``,
    { spkiSha256, name },
  );
