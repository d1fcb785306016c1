import { err, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { nearest } from '../../../domain/core/closest.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { withoutToken } from '../../../domain/core/redaction.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import type { Addressed } from '../trust/agent-target.js';
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
export interface Prepared {
  readonly hosts: readonly Addressed[];
  readonly identity: DispatcherIdentity;
}

type Permit = (hosts: readonly string[]) => ResultAsync<void, CtrlExecError<'denied'>>;

const permitBy =
  (context: DispatcherContext, question: Question, { caller, withoutHook }: Asking): Permit =>
  (hosts) =>
    authorise(context, { ...question, hosts }, caller ?? {}, withoutHook ?? 'allow');

/** A denial as a result of one host may have it: why stands in the log. */
const inline =
  ({ settings }: DispatcherContext) =>
  (error: CtrlExecError<'denied'>): CtrlExecError<'denied'> =>
    settings.authDenyGeneric
      ? failure('denied', 'forbidden', { who: 'hook', reason: 'forbidden', hookCode: undefined })
      : error;

/** The hook knows agents by their names: whoever is meant by another spelling is asked about by name as well. */
const withPermit = (
  context: DispatcherContext,
  hosts: readonly Addressed[],
  permit: Permit,
): readonly Addressed[] =>
  hosts.map((each) =>
    each.record ? each : { ...each, permit: (name: string) => permit([name]).mapErr(inline(context)) },
  );

/** Names that are proposed for one that is unknown. */
const maxProposed = 3;

/** Err: one of the hosts is a slip. A resolver that fails proves nothing. */
function refuseUnknown(
  { registry, settings, transport }: DispatcherContext,
  hosts: readonly Addressed[],
): ResultAsync<void, CtrlExecError<'target_unknown' | 'store_failed'>> {
  return safeTry<void, CtrlExecError<'target_unknown' | 'store_failed'>>(async function* () {
    const doubtful = hosts.filter(({ host, record }) => !record && /^[^.:]+$/.test(host));
    const unknown = await parallel(doubtful, settings.maxParallel, ({ host }) =>
      transport.isUnknownHost(host),
    );
    const word = doubtful.find((_, index) => unknown[index])?.host;
    if (word === undefined) return ok(undefined);
    const names = (yield* registry.list()).map(({ name }) => name);
    const closest = nearest(word.toLowerCase(), names, maxProposed);
    const hint = closest.length > 0 ? `: did you mean ${closest.join(' or ')}?` : '';
    const message = `unknown host ${word}, which is not registered here and does not resolve${hint}`;
    return err(failure('target_unknown', message, { word, closest }));
  });
}

/** Resolves the hosts, asks the hook, and loads the identity to speak with: in that order, so that a typing error asks nobody. */
export function prepare(
  context: DispatcherContext,
  question: Question & { readonly hosts: readonly string[] },
  asking: Asking,
): ResultAsync<Prepared, AskFailure> {
  const permit = permitBy(context, question, asking);
  return address(context, question.hosts, asking.port)
    .mapErr((error): AskFailure => error)
    .andThen((hosts) =>
      permit(hosts.map(({ host }) => host))
        .mapErr((error): AskFailure => error)
        // After the hook: whoever may not ask these hosts does not learn which names are registered.
        .andThen(() => (asking.onUnknown === 'refuse' ? refuseUnknown(context, hosts) : okAsync(undefined)))
        .andThen(() => loadIdentity(context))
        .map((identity) => ({ identity, hosts: withPermit(context, hosts, permit) })),
    );
}

/** Some of the hosts of a run that the hook has allowed to ask about. */
export function prepareAgain(
  context: DispatcherContext,
  question: Question,
  hosts: readonly string[],
  asking: Asking,
): ResultAsync<Prepared, AskFailure> {
  return address(context, hosts, asking.port)
    .mapErr((error): AskFailure => error)
    .andThen((addressed) =>
      loadIdentity(context).map((identity) => ({
        identity,
        hosts: withPermit(context, addressed, permitBy(context, question, asking)),
      })),
    );
}

/** What the log holds of a host's error. It may be in the words of a peer, which was told the caller's token. */
export const loggedError = (error: string | undefined, { caller }: Asking): string | undefined =>
  error && withoutToken(error, caller?.token ?? '');

/** What the hook may be asked about by itself. */
export type Asked = Omit<Question, 'run'>;

/** Asks the hook about hosts by their registry names, as a request to them would. */
export function mayAsk(
  context: DispatcherContext,
  { action, script, hosts, args }: Asked,
  { caller = {}, withoutHook = 'allow' }: Pick<Asking, 'caller' | 'withoutHook'> = {},
): ResultAsync<void, CtrlExecError<'denied' | 'invalid_argument' | 'store_failed'>> {
  return address(context, hosts ?? [])
    .mapErr((error): CtrlExecError<'denied' | 'invalid_argument' | 'store_failed'> => error)
    .andThen((addressed) => {
      const named = hosts && { hosts: addressed.map(({ host }) => host) };
      const question = { action, ...(script !== undefined && { script }), ...named, ...(args && { args }) };
      return authorise(context, question, caller, withoutHook);
    });
}
