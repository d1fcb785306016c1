import { err, errAsync, ok, okAsync, ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { aborted } from '../core/wait.js';
import { ping } from '../protocol/endpoints.js';
import type { AgentContext } from './context.js';
import { answerRequests, type Serving } from './requests.js';
import { actionJobsOf, jobsWithActions } from './runs/actions.js';
import { adoptJobs, purgeJobs } from './runs/jobs.js';
import { purgeNowAndThen } from './runs/records.js';
import { type Runs, runsOf } from './runs/runs.js';
import { notedPort, notePort } from './served-port.js';
import { type CurrentState, served } from './state/served.js';
import { loadState, requireIdentity } from './state/state.js';
import { admissionOf } from './trust/admission.js';
import { keepDenyList } from './trust/deny-list.js';
import type { AgentIdentity } from './trust/trust.js';
import { upgradeFileTrust } from './upgrade.js';

/** An agent that serves. At the end of an `await using` block it closes, with the default grace. */
export interface ServingAgent extends AsyncDisposable {
  readonly port: number;
  readonly bind: string;
  /** What was wrong, but not fatal, at the last load; one line each. */
  warnings(): readonly string[];
  /**
   * Reads configuration, allowlist, sidecars, trust, revocations, tags and certificates anew, without dropping a
   * connection. Err: something does not parse, and everything stays as it was; but serials that a damaged file of revoked
   * serials names are refused from then on. Port and bind need a restart.
   */
  reload(): ResultAsync<void, CtrlExecError>;
  /**
   * Refuses new work, lets what runs finish for at most `grace` milliseconds, then ends it and closes; async runs of scripts
   * go on. Default: 30,000. A further call can only shorten that.
   */
  close(grace?: number): Promise<void>;
}

/** Where to serve. */
export interface ServeOptions {
  /**
   * 0 takes the port that was last served on or registered, where it is free, else one that the system chooses. A pairing from then on
   * registers it. Default: `port` of the configuration.
   */
  readonly port?: number;
  /** Default: `bind` of the configuration. */
  readonly bind?: string;
  /** Aborted while it is starting: `aborted`, and nothing listens. Aborted later: as `close()`. */
  readonly signal?: AbortSignal;
}

/** Serves the agent's port to trusted dispatchers (wire-protocol 1.2, 2.3, 2.4). */
export function serve(
  context: AgentContext,
  { signal, ...options }: ServeOptions = {},
): ResultAsync<ServingAgent, CtrlExecError> {
  if (signal === undefined) return start(context, options);
  if (signal.aborted) return errAsync(aborted());
  return start(context, options).andThen((serving) => {
    if (signal.aborted) return ResultAsync.fromSafePromise(serving.close(0)).andThen(() => err(aborted()));
    const onAbort = () => void serving.close();
    signal.addEventListener('abort', onAbort, { once: true });
    const close = (grace?: number) => {
      signal.removeEventListener('abort', onAbort);
      return serving.close(grace);
    };
    return okAsync({ ...serving, close, [Symbol.asyncDispose]: () => close() });
  });
}

function start(
  context: AgentContext,
  options: Omit<ServeOptions, 'signal'>,
): ResultAsync<ServingAgent, CtrlExecError> {
  return safeTry(async function* () {
    yield* upgradeFileTrust(context);
    const state = yield* loadState(context);
    const identity = yield* requireIdentity(state);
    await keepDenyList(context, state);
    const { settings } = state;
    const { clock, events } = context;
    const bind = options.bind ?? settings.bind;
    let renewListener = (_: AgentIdentity) => {};
    const holder = served(context, { state, identity } satisfies CurrentState, (taken) =>
      renewListener(taken),
    );
    const admission = yield* admissionOf(context, holder.current);
    let ready: (answer: ReturnType<typeof answerRequests>) => void = () => {};
    const prepared = new Promise<ReturnType<typeof answerRequests>>((resolve) => {
      ready = resolve;
    });
    const asked = options.port ?? settings.port;
    const noted = (await notedPort(context, settings)).unwrapOr(undefined);
    const listenOn = (port: number) =>
      context.listener.listen({
        bind,
        port,
        credentials: identity.credentials,
        clientCas: identity.cas,
        maxBody: ping.maxRequest,
        maxConnections: settings.maxConnections,
        maxUnknownPerAddress: Math.max(16, Math.ceil(settings.maxConnections / 16)),
        admit: admission.accept,
        knows: admission.knows,
        refused: admission.refused,
        handle: async (request) => (await prepared)(request),
        failed: (error) =>
          events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } }),
      });
    // Before the stores are opened: another agent that serves has the port, and the locks too. Who asks meanwhile waits. Where any
    // port will do it is the one that dispatchers know.
    const known = asked === 0 && noted !== undefined ? await listenOn(noted) : undefined;
    const listened = known?.isOk() ? known : await listenOn(asked);
    if (listened.isErr()) await admission.close();
    const listening = yield* listened;
    if (known?.isErr()) {
      const reason = `port ${noted}, which dispatchers know, is not free (${known.error.message}): served on ${listening.port}, so tell them with edit-agent --agent-port`;
      events.emit({ action: 'warning', level: 'warning', fields: { reason } });
    }
    if (listening.port !== (noted ?? settings.port)) {
      const kept = await notePort(context, settings, listening.port);
      if (kept.isErr())
        events.emit({ action: 'warning', level: 'warning', fields: { reason: kept.error.message } });
    }
    const journal = context.journal(settings);
    const recorded = await journal.complete();
    // Where the record cannot be written (a full disk) pings are answered, and what changes something is refused until it can.
    if (recorded.isErr())
      events.emit({ action: 'warning', level: 'warning', fields: { reason: recorded.error.message } });
    const doubtfulBefore = recorded.unwrapOr(false) ? undefined : clock.now() + doubt;
    const actionJobs = actionJobsOf(context, settings);
    const scriptJobs = context.jobs(settings);
    const jobs = actionJobs ? jobsWithActions(actionJobs, scriptJobs) : scriptJobs;
    const runs = runsOf(journal, jobs);
    runs.onStopping(() => void actionJobs?.close());
    // Opened now, not by the first run: from then on it is complete.
    const remembered = await purgeNowAndThen(runs, clock.now());
    if (remembered.isErr())
      events.emit({ action: 'warning', level: 'warning', fields: { reason: remembered.error.message } });
    const serving: Serving = {
      context,
      served: holder,
      runs,
      journal,
      doubtfulBefore,
      doubtfulUntil: clock.monotonic() + requestLife,
      signing: new Set(),
      notRemembered: new Set(),
    };
    runs.adopted = adoptJobs(context, runs);
    const closeStores = async () => {
      await runs.adopted;
      await admission.close();
      await journal.close();
      await runs.jobs.close();
    };
    ready(answerRequests(serving));
    renewListener = ({ credentials, cas }) => listening.renew(credentials, cas);
    const report = () => {
      for (const warning of holder.current().state.warnings)
        events.emit({ action: 'warning', level: 'warning', fields: { reason: warning } });
    };
    events.emit({ action: 'serving', fields: { bind, port: listening.port, scripts: state.scripts.size } });
    if (doubtfulBefore !== undefined)
      events.emit({ action: 'replay-record-lost', level: 'warning', fields: { seconds: doubt / 1000 } });
    const { problem } = state.denied;
    if (problem)
      events.emit({ action: 'revoked-serials-damaged', level: 'error', fields: { reason: problem.message } });
    report();
    const stopPurging = purgeJobs(context, runs, () => holder.current().state.settings.asyncTtl);
    let closing: Promise<void> | undefined;
    const stop = async (grace: number) => {
      // A run goes on when its connection has gone.
      await Promise.all([listening.close(grace + killTime), settled(context, runs, grace + killTime)]);
      await runs.adopted;
      await stopPurging();
      await closeStores();
      events.emit({ action: 'stopped', fields: { port: listening.port } });
    };
    const close = async (grace = 30_000) => {
      runs.closing = true;
      const cancel = clock.after(grace, () => runs.stopping.abort());
      closing ??= stop(grace);
      await closing;
      cancel();
    };
    return ok({
      port: listening.port,
      bind,
      warnings: () => {
        const { denied, warnings } = holder.current().state;
        return denied.problem ? [denied.problem.message, ...warnings] : warnings;
      },
      reload: () =>
        holder
          .reload()
          .map(() => {
            serving.notRemembered.clear();
            events.emit({ action: 'reloaded', fields: { scripts: holder.current().state.scripts.size } });
            report();
          })
          .mapErr((error) => {
            events.emit({ action: 'reload-failed', level: 'error', fields: { reason: error.message } });
            return error;
          }),
      close,
      [Symbol.asyncDispose]: () => close(),
    } satisfies ServingAgent);
  });
}

/** Resolves when nothing runs any more that the agent would end by ending, at the latest after `limit` milliseconds. */
const settled = ({ clock }: AgentContext, runs: Runs, limit: number): Promise<void> =>
  new Promise((resolve) => {
    const cancel = clock.after(limit, resolve);
    void runs.settled().then(() => {
      cancel();
      resolve();
    });
  });

/** Milliseconds that a script has between SIGTERM and SIGKILL, and some for its answer. */
const killTime = 7000;

/** Milliseconds from the acceptance of a request until nobody would accept it any more (wire-protocol 2.3). */
const requestLife = (30 + 300 + 30) * 1000;

/** For so many milliseconds from its start on an agent that has lost its record of requests refuses what may be a repetition. */
const doubt = 30_000;
