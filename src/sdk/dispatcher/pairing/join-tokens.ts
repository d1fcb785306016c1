import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { fromHex, hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { newAgentName } from '../../../domain/core/host-argument.js';
import { agentName } from '../../../domain/core/names.js';
import {
  formatJoinToken,
  type JoinTokenRecord,
  parseJoinToken,
  takenBack,
  whyNotUsable,
} from '../../../domain/pairing/join-token.js';
import type { StartMessage } from '../../../domain/pairing/messages.js';
import { refusal, type SessionToken } from '../../../domain/pairing/session.js';
import { joinKeyInfo } from '../../../domain/pairing/transcript.js';
import { isActive } from '../../../domain/pairing/units.js';
import type { DispatcherContext } from '../context.js';
import type { SessionFailure } from './identity.js';

/** For whom a token is, and for how long. */
export interface JoinTokenRequest {
  /** The one host that may pair with it: the name that it will ask for. */
  readonly host: string;
  /** Seconds, 1 to 31,536,000. Default: 900. */
  readonly ttl?: number;
}

/** A token that pairs one host, once. */
export interface IssuedJoinToken {
  /** The secret itself: `cxj2.…`. Shown once, not kept. */
  readonly token: string;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** Whether an agent of this name is registered: as long as it is, the token is refused. */
  readonly registered: boolean;
}

/** A token as it is listed. Its secret is kept nowhere. */
export interface JoinTokenSummary {
  /** Public: 16 hex digits. */
  readonly id: string;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** `begun`: a host has begun to pair with it, and it is of use to no other one. `used`: that host is paired. */
  readonly state: 'unused' | 'begun' | 'used' | 'revoked' | 'expired';
}

/** The tokens that are kept, the oldest first: a day longer than they hold. */
export const listJoinTokens = ({
  clock,
  joinTokens,
}: DispatcherContext): ResultAsync<readonly JoinTokenSummary[], CtrlExecError<'store_failed'>> =>
  joinTokens.list().map((tokens) =>
    tokens.map((token) => {
      const { id, name, createdAt, expiresAt } = token;
      return { id, name, createdAt, expiresAt, state: stateOf(token, clock.now()) };
    }),
  );

function stateOf({ boundTo, burntAt, expiresAt }: JoinTokenRecord, now: number): JoinTokenSummary['state'] {
  if (burntAt !== undefined) return 'used';
  if (boundTo === takenBack) return 'revoked';
  if (expiresAt <= now) return 'expired';
  return boundTo === undefined ? 'unused' : 'begun';
}

/** Issues a token with which one host may pair once, without a person (wire-protocol 2.2). */
export function issueJoinToken(
  context: DispatcherContext,
  request: JoinTokenRequest,
): ResultAsync<IssuedJoinToken, CtrlExecError<'invalid_argument' | 'store_failed'>> {
  const { clock, crypto, events, joinTokens, random, registry } = context;
  const { ttl = 900 } = request;
  return safeTry(async function* () {
    const name = yield* newAgentName(request.host, 'host');
    if (!Number.isInteger(ttl) || ttl < 1 || ttl > 31_536_000) yield* invalidTtl();
    const registered = isActive(yield* registry.find(name));
    const id = random.bytes(8);
    const secret = random.bytes(32);
    const now = clock.now();
    const expiresAt = now + ttl * 1000;
    yield* joinTokens.purge(now - 86_400_000);
    yield* joinTokens.add({
      id: hex(id),
      name,
      key: hex(crypto.hkdfSha256(secret, id, joinKeyInfo, 32)),
      boundTo: undefined,
      createdAt: now,
      expiresAt,
      burntAt: undefined,
    });
    events.emit({ action: 'join-token-issued', fields: { host: name, token: hex(id), ttl } });
    return ok({ token: formatJoinToken({ id, secret }), name, expiresAt, registered });
  });
}

/**
 * Sees to it that nobody pairs with a token any more. Ok: whether it is of no use now; false: a host has begun to pair with it, or
 * is paired.
 * @param token the token, its id, or the first 8 digits of that or more
 */
export function withdrawJoinToken(
  { events, joinTokens }: DispatcherContext,
  token: string,
): ResultAsync<boolean, CtrlExecError<'invalid_argument' | 'id_ambiguous' | 'store_failed'>> {
  return safeTry(async function* () {
    const prefix = /^[0-9a-f]{8,16}$/i.test(token) ? token.toLowerCase() : undefined;
    const matches =
      prefix === undefined
        ? [hex((yield* parseJoinToken(token).mapErr(notAToken)).id)]
        : (yield* joinTokens.list()).map((each) => each.id).filter((each) => each.startsWith(prefix));
    const [id] = matches;
    if (id === undefined) {
      const reason = `there is no join token ${prefix}: join-token list shows those that there are`;
      return err(failure('invalid_argument', reason, { field: 'token', reason }));
    }
    if (matches.length > 1)
      return err(
        failure('id_ambiguous', `${prefix} names ${matches.length} join tokens: give more digits`, {
          id: prefix ?? id,
          matches,
        }),
      );
    const withdrawn = yield* joinTokens.bind(id, takenBack);
    if (withdrawn) events.emit({ action: 'join-token-withdrawn', fields: { token: id } });
    return ok(withdrawn);
  });
}

const notAToken = () => {
  const reason =
    'expected a join token, its id, or the first 8 digits of that or more: join-token list shows ids';
  return failure('invalid_argument', `token: ${reason}`, { field: 'token', reason });
};

const invalidTtl = () => {
  const reason = 'a whole number of seconds from 1 to 31536000 is expected';
  return err(failure('invalid_argument', `ttl: ${reason}`, { field: 'ttl', reason }));
};

/**
 * The token that a request was begun with; undefined when without. Whoever is refused learns no reason. All of it is judged
 * again when the token is proved and when the certificate is issued.
 */
export function joinedBy(
  context: DispatcherContext,
  message: StartMessage,
): ResultAsync<SessionToken | undefined, SessionFailure> {
  const { clock, joinTokens, registry } = context;
  return safeTry<SessionToken | undefined, SessionFailure>(async function* () {
    if (!message.join) return ok(undefined);
    const name = yield* agentName(message.host).mapErr((error) => refusal('invalid', error.message));
    const token = yield* joinTokens.find(hex(message.join));
    const why = whyNotUsable(token, /* defence: join-token-is-for-one-name */ name, clock.now());
    const key = fromHex(token?.key ?? '');
    if (why !== undefined || !token || !key) return err(refusal('join_refused', why ?? 'unknown token'));
    if (isActive(yield* registry.find(name)))
      return err(refusal('name_registered', `${name} is registered already`));
    return ok({ id: token.id, name, key });
  });
}
