import { errAsync, type ResultAsync } from 'neverthrow';
import { type Calls, judged } from '../../domain/core/border.js';
import { type CtrlExecError, failure, type Lock } from '../../domain/core/errors.js';
import type { ImportReport } from '../../domain/legacy/import-report.js';
import type { PairingRequest } from '../../domain/pairing/request.js';
import type { RunQuery } from '../../domain/runs/query.js';
import type { DispatcherSettings } from '../../domain/settings/dispatcher.js';
import type { AgentRecord } from '../../domain/trust/agent-record.js';
import type { BannedKey } from '../../domain/trust/banned-key.js';
import type { Revocation } from '../../ports/revocations.js';
import { once } from '../core/parallel.js';
import { invalidArgument } from '../core/refusals.js';
import { unfailing } from '../core/unfailing-events.js';
import { dispatcherCalls, type Retry } from './calls.js';
import type { DispatcherContext } from './context.js';
import {
  type AgentPage,
  type AgentQuery,
  agentPage,
  agentsWith,
  type TargetRequest,
  targets,
} from './fleet/agents.js';
import { type Asked, type Asking, mayAsk } from './fleet/ask.js';
import { authorise } from './fleet/authorise.js';
import { type Discovery, type DiscoveryRequest, discover } from './fleet/discovery.js';
import { type PinnedAgent, pinAgent } from './fleet/pin-agent.js';
import { type Ping, type PingRequest, ping } from './fleet/ping.js';
import { type AgentEdit, editAgent, findAgent, unpairAgent } from './fleet/registered-agents.js';
import { type CaRollover, rotateCa } from './maintenance/ca-rollover.js';
import { type MaintainOptions, type Maintenance, maintain } from './maintenance/maintain.js';
import { type ImportOptions, importState } from './migrate/import-state.js';
import { type Approval, approve, deny, listRequests, type RequestListing } from './pairing/decisions.js';
import {
  type IssuedJoinToken,
  issueJoinToken,
  type JoinTokenRequest,
  type JoinTokenSummary,
  listJoinTokens,
  withdrawJoinToken,
} from './pairing/join-tokens.js';
import { openPairingMode, type PairingMode, type PairingModeOptions } from './pairing/pairing-mode.js';
import { type Cancellation, type CancelOptions, cancel } from './runs/cancel.js';
import { type FollowedRun, follow, type StreamRequest } from './runs/follow.js';
import { listRuns, type RunPage } from './runs/list.js';
import { releaseLock } from './runs/release-lock.js';
import { type RetryOptions, type RetrySubmitOptions, retry, retryAsync } from './runs/retry.js';
import { type Run, type RunRequest, run, type SubmitRequest, type Submitted, submit } from './runs/run.js';
import { type SettledRuns, settleRuns } from './runs/settle.js';
import { type RunStatus, status } from './runs/status.js';
import { type Waited, type WaitOptions, waitForRun } from './runs/wait.js';
import { type WatchOptions, watchRun } from './runs/watch.js';
import { type Certificates, certificates } from './trust/certificates.js';
import { rotateCompromised } from './trust/compromised.js';
import { type OfferedRevocations, offerRevocations } from './trust/pending-revocations.js';
import { type Renewal, readmit } from './trust/renewal.js';
import { type Revoked, revoke, unban } from './trust/revoke.js';
import { type Rotation, rotate, type SerialStatus, serialStatus } from './trust/rotation.js';
import {
  type CaSummary,
  caSummary,
  type DispatcherSummary,
  type SetupDispatcherOptions,
  setupCa,
  setupDispatcher,
} from './trust/setup.js';

/** A dispatcher context that can be closed, and what its configuration had to say. */
export interface OpenedDispatcher {
  readonly context: DispatcherContext;
  /** One line each, with file and line. */
  readonly warnings: readonly string[];
  /** Why nothing may be done: another account can change its files. */
  readonly distrust?: CtrlExecError | undefined;
  close(): Promise<void>;
}

type Answer<T> = ResultAsync<T, CtrlExecError>;

/** Who asks for what changes whom the fleet trusts; told to the hook, with action `rotate`, `revoke`, `unban` or `readmit`. */
export type Governed = Pick<Asking, 'caller' | 'withoutHook' | 'signal'>;

export interface RotateOptions extends Governed {
  /**
   * `rotate`: switch although agents that answer refused the next certificate. `rotateCa`: go on although legacy agents will
   * have to be paired again. Default false.
   */
  readonly insist?: boolean;
}

/** How the identity is replaced. */
export interface RotateIdentityOptions extends RotateOptions {
  /**
   * Its key was stolen: the new identity is used at once, whoever is told, the former keys are destroyed, and every other
   * certificate of this dispatcher is revoked. One that was interrupted goes on. Default false.
   */
  readonly compromised?: boolean;
}

/**
 * The control host. Nothing is opened before the first call; a configuration that does not parse is the error of every
 * call. No method throws for an expected failure.
 */
export interface Dispatcher extends AsyncDisposable {
  /** The settings in force and the warnings of the configuration. */
  configuration(): Answer<{ settings: DispatcherSettings; warnings: readonly string[] }>;
  /**
   * Asks the hook; `denied` unless it says yes. Hosts are named to it as a request to them would name them. For what is offered
   * beside these methods: they ask it by themselves where that is due.
   */
  authorise(question: Asked, asking?: Pick<Asking, 'caller' | 'withoutHook'>): Answer<void>;
  /** Creates the private CA; `ca_exists` if there is one. */
  setupCa(): Answer<CaSummary>;
  /** The CA in force. */
  ca(): Answer<CaSummary>;
  /** Creates this dispatcher's identity; `identity_exists` if there is one and `replace` is not set. */
  setup(options?: SetupDispatcherOptions): Answer<DispatcherSummary>;
  /** Takes over CA, identity, agents and configuration of another installation; nothing that is here is overwritten. */
  importState(options: ImportOptions): Answer<ImportReport>;
  /** Opens the pairing port until it is closed. */
  openPairing(options?: PairingModeOptions): Answer<PairingMode>;
  /** Pairing requests that wait, oldest first; with `givenUp` those as well that were given up and hold a place. */
  pairingRequests(listing?: RequestListing): Answer<readonly PairingRequest[]>;
  /**
   * Lets the host pair that shows this request. `not_ready` when it was decided or has ended, `codes_differ`
   * for another code.
   */
  approve(approval: Approval): Answer<PairingRequest>;
  /**
   * Refuses a pairing request.
   * @param id the request, or a unique prefix of at least 8 digits
   * @param reason told to the agent
   */
  deny(id: string, reason?: string): Answer<PairingRequest>;
  /** A token with which one host may pair once, without a person. */
  issueJoinToken(request: JoinTokenRequest): Answer<IssuedJoinToken>;
  /** Join tokens that were issued, the oldest first, for a day after they ended. */
  joinTokens(): Answer<readonly JoinTokenSummary[]>;
  /**
   * Takes a join token back, so that nobody can pair with it. Ok: true if it is of no use now; false if a host has begun to pair
   * with it, or is paired.
   * @param token the token, its id, or the first 8 digits of the id or more
   */
  withdrawJoinToken(token: string): Answer<boolean>;
  /**
   * The registry, sorted by name.
   * @param tags only agents whose cached tags have all of these values; with any, agents that are revoked are left out
   */
  agents(tags?: Readonly<Record<string, string>>): Answer<readonly AgentRecord[]>;
  /** The registry by name, page by page, and how each agent stands. */
  agentPage(query?: AgentQuery): Answer<AgentPage>;
  /** The hosts that a request means: those that it names, or the agents with some tags. */
  targets(request: TargetRequest): Answer<readonly string[]>;
  /** One agent; `agent_unknown` says whose name is near that. */
  agent(name: string): Answer<AgentRecord>;
  /** The certificates of the CA, of this dispatcher and of its agents, as they are kept here. */
  certificates(): Answer<Certificates>;
  /** Changes where an agent is reached, or its name. */
  editAgent(name: string, edit: AgentEdit): Answer<AgentRecord>;
  /** Pins the key that answers for an agent which was taken over from another installation, whatever its certificate names. */
  pinAgent(name: string): Answer<PinnedAgent>;
  /** Forgets an agent: its key answers for nobody any more. */
  unpair(name: string): Answer<AgentRecord>;
  /**
   * Runs a script on hosts and waits for all of them. Err: nothing was begun (`denied`, `locked`, `invalid_argument`,
   * …).
   */
  run(request: RunRequest): Answer<Run>;
  /** The same, begun at once, to be followed by a loop over its events. */
  stream(request: StreamRequest): FollowedRun;
  /** Has hosts run a script by themselves; `status` and `wait` tell how it ended. */
  submit(request: SubmitRequest): Answer<Submitted>;
  /** Runs as they are recorded here, the latest first; no agent is asked. */
  runs(query?: RunQuery): Answer<RunPage>;
  /**
   * The same script with the same arguments once more, on the hosts where it did not end with exit 0; a run of its own.
   * `not_ready` while it may still run somewhere, `invalid_argument` where it failed nowhere.
   */
  retry(reqid: string, options?: RetryOptions & { readonly async?: false }): Answer<Run>;
  /** The same, and the agents run it by themselves. */
  retry(reqid: string, options: RetrySubmitOptions & { readonly async: true }): Answer<Submitted>;
  /** How a run stands: as recorded, and as the agents say that were not heard to the end. */
  status(reqid: string, asking?: Asking): Answer<RunStatus>;
  /** Waits until a run has ended on every host, or the time is up. */
  wait(reqid: string, options?: WaitOptions): Answer<Waited>;
  /** Tells how a run stands, and then how it ends, host by host, until every host has ended. */
  watch(reqid: string, options?: WatchOptions): Answer<Waited>;
  /** Stops a run on its hosts, or some of them. */
  cancel(reqid: string, options?: CancelOptions): Answer<Cancellation>;
  /** A round trip of mutual TLS to hosts: who they are, their version, until when their certificate holds. */
  ping(request: PingRequest): Answer<Ping>;
  /** Asks agents for scripts, tags and versions, and keeps their tags in the registry. */
  discover(request?: DiscoveryRequest): Answer<Discovery>;
  /** Replaces this dispatcher's key and certificate; agents are told first. Goes on with one that was begun. */
  rotate(options?: RotateIdentityOptions): Answer<Rotation>;
  /** The dispatcher's serials, and how each agent stands to them. */
  serialStatus(): Answer<SerialStatus>;
  /** One maintenance pass: renews, rotates, retires, tells agents what they have missed. Call it every few hours. */
  maintain(options?: MaintainOptions): Answer<Maintenance>;
  /**
   * Asks agents how runs ended whose end nobody has heard yet, so that lists know it and results are here before agents forget
   * them. Call it every minute or so where runs are async.
   */
  settleRuns(options?: { readonly signal?: AbortSignal }): Answer<SettledRuns>;
  /** Revokes an agent's certificates, or one by its serial, everywhere, and bans their keys. */
  revoke(nameOrSerial: string, options?: Governed): Answer<Revoked>;
  /** What was revoked, sorted by serial. */
  revocations(): Answer<readonly Revocation[]>;
  /** Keys that were revoked, and are paired for nobody; by the time of the ban. */
  bannedKeys(): Answer<readonly BannedKey[]>;
  /**
   * Lifts the ban of a key; its certificates stay revoked, it is to be paired again. `invalid_argument`: it is not banned.
   * @param key SHA-256 of its SubjectPublicKeyInfo as hex, in either case, with or without colons
   */
  unban(key: string, options?: Governed): Answer<BannedKey>;
  /**
   * Offers the newest revocation list to agents that have not acknowledged it; where there are none, nobody is asked. Call it every
   * minute or so.
   */
  offerRevocations(options?: { readonly signal?: AbortSignal }): Answer<OfferedRevocations>;
  /** Renews an agent whose certificate has expired, once; its key must be the pinned one. */
  readmit(name: string, options?: Governed): Answer<Renewal>;
  /** Replaces the CA without visiting an agent; maintenance goes on with what cannot be done at once. */
  rotateCa(options?: RotateOptions): Answer<CaRollover>;
  /** Scripts that run somewhere, or may: hosts of runs that have begun and are not settled. */
  locks(): Answer<readonly Lock[]>;
  /**
   * Gives up a lock that nobody else settles: the run is `unknown` on that host then, and the script may be begun there again.
   * `invalid_argument`: there is no such lock.
   */
  releaseLock(lock: { readonly host: string; readonly script: string }): Answer<readonly Lock[]>;
  /** Resolves once nothing is under way. */
  settled(): Promise<void>;
  /** Closes connections and stores; requests under way end as `aborted`. */
  close(): Promise<void>;
}

/** `retry` as one signature. */
interface Called extends Omit<Dispatcher, 'retry'> {
  retry(reqid: string, options?: Retry): unknown;
}

/** A dispatcher over a context that is opened at the first use. */
export function createDispatcher(open: () => ResultAsync<OpenedDispatcher, CtrlExecError>): Dispatcher {
  let opening: ResultAsync<OpenedDispatcher, CtrlExecError> | undefined;
  const opened = once(() => {
    opening = open().map((made) => ({
      ...made,
      context: { ...made.context, events: unfailing(made.context.events) },
    }));
    return opening;
  });
  const underWay = new Set<PromiseLike<unknown>>();
  /** Nothing is begun where the caller's signal was aborted before. */
  const within = <T>(
    use: (context: DispatcherContext) => ResultAsync<T, CtrlExecError>,
    options?: { readonly signal?: AbortSignal | undefined; readonly distrusted?: boolean },
  ): Answer<T> => {
    if (options?.signal?.aborted)
      return errAsync(failure('aborted', 'stopped by the caller before anything was done', {}));
    const work = opened().andThen(({ context, distrust }) =>
      // defence: dispatcher-believes-no-foreign-file
      distrust === undefined || options?.distrusted ? use(context) : errAsync(distrust),
    );
    const ended: Promise<unknown> = Promise.resolve(work).then(
      () => underWay.delete(ended),
      () => underWay.delete(ended),
    );
    underWay.add(ended);
    return work;
  };
  /** Asks the hook before what changes whom the fleet trusts. */
  const governed = <T>(
    action: string,
    { caller = {}, withoutHook = 'allow', signal }: Governed = {},
    use: (context: DispatcherContext) => ResultAsync<T, CtrlExecError>,
  ): Answer<T> =>
    within(
      (context) =>
        authorise(context, { action }, caller, withoutHook)
          .mapErr((error): CtrlExecError => error)
          .andThen(() => use(context)),
      { signal },
    );
  const settled = async () => {
    while (underWay.size > 0) await Promise.all(underWay);
  };
  function again(reqid: string, options?: RetryOptions & { readonly async?: false }): Answer<Run>;
  function again(reqid: string, options: RetrySubmitOptions & { readonly async: true }): Answer<Submitted>;
  function again(
    reqid: string,
    options: (RetryOptions & { async?: false }) | (RetrySubmitOptions & { async: true }) = {},
  ): Answer<Run | Submitted> {
    return within<Run | Submitted>(
      (context) => (options.async ? retryAsync(context, reqid, options) : retry(context, reqid, options)),
      options,
    );
  }
  const close = async () => {
    const outcome = await opening;
    if (!outcome?.isOk()) return;
    // First nothing waits for agents any more, then everything is recorded, then the stores go.
    await outcome.value.context.channel.close();
    await Promise.all(underWay);
    await outcome.value.close();
  };
  const methods: Dispatcher = {
    configuration: () => opened().map(({ context, warnings }) => ({ settings: context.settings, warnings })),
    authorise: (question, asking) => within((context) => mayAsk(context, question, asking)),
    setupCa: () => within(setupCa),
    ca: () => within(caSummary),
    setup: (options) => within((context) => setupDispatcher(context, options)),
    importState: (options) => within((context) => importState(context, options), { distrusted: true }),
    openPairing: (options) => within((context) => openPairingMode(context, options)),
    pairingRequests: (listing) => within((context) => listRequests(context, listing)),
    approve: (approval) => within((context) => approve(context, approval)),
    deny: (id, reason) => within((context) => deny(context, id, reason)),
    issueJoinToken: (request) => within((context) => issueJoinToken(context, request)),
    joinTokens: () => within(listJoinTokens),
    withdrawJoinToken: (token) => within((context) => withdrawJoinToken(context, token)),
    agents: (tags = {}) => within((context) => agentsWith(context, tags)),
    agentPage: (query) => within((context) => agentPage(context, query)),
    targets: (request) => within((context) => targets(context, request)),
    agent: (name) => within((context) => findAgent(context, name)),
    certificates: () => within(certificates),
    editAgent: (name, edit) => within((context) => editAgent(context, name, edit)),
    pinAgent: (name) => within((context) => pinAgent(context, name)),
    unpair: (name) => within((context) => unpairAgent(context, name)),
    run: (request) => within((context) => run(context, request), request),
    stream: (request) =>
      follow(
        (callbacks) =>
          within((context) => run(context, { ...request, ...callbacks(context.clock) }), request),
        request.signal,
      ),
    submit: (request) => within((context) => submit(context, request), request),
    runs: (query) => within((context) => listRuns(context, query)),
    retry: again,
    status: (reqid, asking) => within((context) => status(context, reqid, asking), asking),
    wait: (reqid, options) => within((context) => waitForRun(context, reqid, options), options),
    watch: (reqid, options) => within((context) => watchRun(context, reqid, options), options),
    cancel: (reqid, options) => within((context) => cancel(context, reqid, options), options),
    ping: (request) => within((context) => ping(context, request), request),
    discover: (request) => within((context) => discover(context, request), request),
    rotate: (options = {}) =>
      governed('rotate', options, (context) =>
        options.compromised ? rotateCompromised(context, options) : rotate(context, options),
      ),
    serialStatus: () => within(serialStatus),
    maintain: (options) => within((context) => maintain(context, options), options),
    settleRuns: (options) => within((context) => settleRuns(context, options), options),
    revoke: (nameOrSerial, options) =>
      governed('revoke', options, (context) => revoke(context, nameOrSerial, options)),
    revocations: () => within((context) => context.revocations.current().map(({ entries }) => entries)),
    bannedKeys: () => within(({ revocations }) => revocations.bannedKeys()),
    unban: (key, options) => governed('unban', options, (context) => unban(context, key)),
    offerRevocations: (options) => within((context) => offerRevocations(context, options), options),
    readmit: (name, options) =>
      governed('readmit', options, (context) => readmit(context, name, options?.signal)),
    rotateCa: (options) => governed('rotate', options, (context) => rotateCa(context, options)),
    locks: () => within(({ clock, runStore }) => runStore.locks(clock.now())),
    releaseLock: (lock) => within((context) => releaseLock(context, lock)),
    settled,
    close,
    [Symbol.asyncDispose]: close,
  };
  return judged(methods, dispatcherCalls satisfies Calls<Called>, (wrong, method) => {
    const refused = invalidArgument(wrong);
    return method === 'stream' ? follow(() => errAsync(refused), undefined) : errAsync(refused);
  });
}
