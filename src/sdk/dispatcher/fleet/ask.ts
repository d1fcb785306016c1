import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { nearest } from '../../../domain/core/closest.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { withoutToken } from '../../../domain/core/redaction.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import type { Addressed } from '../trust/destination.js';
import { type DispatcherIdentity, type IdentityFailure, loadIdentity } from '../trust/identity.js';
import { authorise, type Caller, type Question } from './authorise.js';
import { address } from './contact.js';

/** What every request to agents has in common. */
export interface Asking {
  /** Who asks; told to the hooks of both sides. */
  readonly caller?: Caller;
  /** What holds where no hook is configured. Default: `allow` (the operating system decided who may call). */
  readonly withoutHook?: 'allow' | 'deny';
  /** Port for hosts without a written one, and instead of a stored one. Default: the stored one, or 7443. */
  readonly port?: number;
  /**
   * What becomes of a name without dot or port that is neither registered nor resolves, and so is a slip. `refuse`: nothing is
   * sent to anybody (`target_unknown`); `report`: it is the error of that host. Default: `report`.
   */
  readonly onUnknown?: 'refuse' | 'report';
  /** Gives up waiting; what has begun on an agent goes on. */
  readonly signal?: AbortSignal;
}

export type AskFailure =
  | IdentityFailure
  | CtrlExecError<'invalid_argument' | 'target_unknown' | 'denied' | 'store_failed'>;

/** Hosts as they are asked, and the identity to speak with. */
export interface Plan {
  readonly hosts: readonly Addressed[];
  readonly identity: DispatcherIdentity;
}

/** What the hook may be asked about by itself. */
export type Asked = Omit<Question, 'run'>;

type Permitted = Pick<Asking, 'caller' | 'withoutHook' | 'port'>;

/** Asks the hook about hosts by their registry names, and gives them as they are asked. */
function permitted(
  context: DispatcherContext,
  question: Question,
  { caller = {}, withoutHook = 'allow', port }: Permitted,
): ResultAsync<readonly Addressed[], CtrlExecError<'denied' | 'invalid_argument' | 'store_failed'>> {
  return safeTry(async function* () {
    const hosts = yield* address(context, question.hosts ?? [], port);
    yield* authorise(context, { ...question, hosts: hosts.map(({ host }) => host) }, caller, withoutHook);
    return ok(hosts);
  });
}

/** Asks the hook, as a request to these hosts would. */
export const mayAsk = (context: DispatcherContext, question: Asked, asking: Permitted = {}) =>
  permitted(context, question, asking).map(() => undefined);

/** Names that are proposed for one that is unknown. */
const maxProposed = 3;

/** Err: one of the hosts is a slip. A resolver that fails proves nothing. */
function refuseUnknown(
  { channel, registry, settings }: DispatcherContext,
  hosts: readonly Addressed[],
): ResultAsync<void, CtrlExecError<'target_unknown' | 'store_failed'>> {
  return safeTry<void, CtrlExecError<'target_unknown' | 'store_failed'>>(async function* () {
    const doubtful = hosts.filter(({ host, record }) => !record && /^[^.:]+$/.test(host));
    const unknown = await parallel(doubtful, settings.maxParallel, ({ host }) => channel.isUnknownHost(host));
    const word = doubtful.find((_, index) => unknown[index])?.host;
    if (word === undefined) return ok(undefined);
    const names = (yield* registry.list()).map(({ name }) => name);
    const closest = nearest(word.toLowerCase(), names, maxProposed);
    const hint = closest.length > 0 ? `: did you mean ${closest.join(' or ')}?` : '';
    const message = `unknown host ${word}, which is not registered here and does not resolve${hint}`;
    return err(failure('target_unknown', message, { word, closest }));
  });
}

/**
 * Resolves the hosts, asks the hook, and loads the identity to speak with: in that order, so that a typing error asks nobody.
 * @param among some of the hosts, where the hook was asked about all of them already
 */
export function plan(
  context: DispatcherContext,
  question: Question,
  asking: Asking,
  among?: readonly string[],
): ResultAsync<Plan, AskFailure> {
  const { caller = {}, withoutHook = 'allow', onUnknown, port } = asking;
  return safeTry<Plan, AskFailure>(async function* () {
    const hosts = yield* among ? address(context, among, port) : permitted(context, question, asking);
    // After the hook: whoever may not ask these hosts does not learn which names are registered.
    if (!among && onUnknown === 'refuse') yield* refuseUnknown(context, hosts);
    const identity = yield* loadIdentity(context);
    // The hook knows agents by their names: whoever is meant by another spelling is asked about by name as well.
    const approves = (name: string) =>
      authorise(context, { ...question, hosts: [name] }, caller, withoutHook).mapErr(inline(context));
    return ok({ identity, hosts: hosts.map((each) => (each.record ? each : { ...each, approves })) });
  });
}

/** A denial as a result of one host may have it: why stands in the log. */
const inline =
  ({ settings }: DispatcherContext) =>
  (error: CtrlExecError<'denied'>): CtrlExecError<'denied'> =>
    settings.authDenyGeneric
      ? failure('denied', 'forbidden', { who: 'hook', reason: 'forbidden', hookCode: undefined })
      : error;

/** What the log holds of a host's error. It may be in the words of a peer, which was told the caller's token. */
export const loggedError = (error: string | undefined, { caller }: Asking): string | undefined =>
  error && withoutToken(error, caller?.token ?? '');
