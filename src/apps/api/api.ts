import type { SecureContextOptions } from 'node:tls';
import type { Response } from 'express';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { DispatcherSettings } from '../../domain/settings/dispatcher.js';
import type { Clock } from '../../ports/clock.js';
import type { EventLog } from '../../ports/event-log.js';
import { refusalLog } from '../../sdk/core/refusals.js';
import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import { createApp } from './app.js';
import type { ApiMetrics } from './metrics/metrics.js';
import { scrape } from './metrics/scrape.js';
import { createApiRouter } from './router.js';
import { endsWithConnection } from './serve/broken-connections.js';
import { lookEveryMinute } from './serve/every-minute.js';
import { defaultGateLimits, type GateLimits, gate } from './serve/gate.js';
import { defaultLimits, type ServerLimits } from './serve/limits.js';
import { keepMaintained } from './serve/maintenance.js';
import { exposure, type ListenOptions, type ListenPlace, listenPlaces } from './serve/places.js';
import { headerLines, noRebinding, requestRate, securityHeaders } from './serve/protection.js';
import { requestsUnderWay } from './serve/requests.js';
import { type ListeningServer, listenAt } from './serve/server.js';
import { type ApiState, loadState, needsRestart } from './serve/states.js';

/** What the API is made of. */
export interface ApiServerParts {
  readonly events: EventLog;
  readonly clock: Clock;
  readonly metrics: ApiMetrics;
  /** A dispatcher over the configuration as it is now. */
  readonly open: () => Dispatcher;
  /** Default: those of the command. */
  readonly limits?: Partial<ServerLimits>;
  readonly gateLimits?: Partial<GateLimits>;
  /** Told what is about to be served, and where, before anything listens. */
  readonly starting?: (settings: DispatcherSettings, places: readonly ListenPlace[]) => void;
}

/** An API that is served. */
export interface RunningApi {
  /** Where it listens. */
  readonly addresses: readonly string[];
  /** What the configuration had to say, one line each. */
  readonly warnings: readonly string[];
  /**
   * Reads configuration and certificates again. Err: something of it cannot be used, and everything stays as it was. Requests
   * under way end on the dispatcher that they began with.
   */
  reload(): ResultAsync<void, CtrlExecError>;
  /**
   * Takes no request any more, lets what is under way finish for at most `grace` milliseconds, then aborts it, and closes.
   * Default: 30,000. A further call can only shorten that.
   */
  close(grace?: number): Promise<void>;
}

/** Milliseconds in which an answer that says `aborted` can still be written. */
const farewell = 2_000;

/** Serves the API until it is closed. */
export async function startApi(
  parts: ApiServerParts,
  options: ListenOptions = {},
): Promise<Result<RunningApi, CtrlExecError>> {
  const { events, clock, metrics } = parts;
  const limits = { ...defaultLimits, ...parts.limits };
  const load = async (): Promise<Result<ApiState, CtrlExecError>> => {
    const dispatcher = parts.open();
    const state = await loadState(dispatcher);
    if (state.isErr()) await dispatcher.close();
    return state;
  };
  const warn = (reason: string) => events.emit({ action: 'warning', level: 'warning', fields: { reason } });

  const loaded = await load();
  if (loaded.isErr()) return err(loaded.error);
  let current = { ...loaded.value, counted: metrics.dispatcher(loaded.value.dispatcher) };
  const settings = () => current.settings;

  const failed = (error: unknown) =>
    events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } });
  const ending = new AbortController();
  const requests = requestsUnderWay(events, metrics.requestEnded);
  const begunOn = new WeakMap<Response, Dispatcher>();
  let closing: Promise<void> | undefined;
  const app = createApp({
    before: [
      endsWithConnection,
      requests.observe,
      (_request, response, next) => {
        begunOn.set(response, current.dispatcher);
        next();
      },
      securityHeaders,
      headerLines(limits),
      (_request, response, next) => {
        if (closing) response.setHeader('Connection', 'close');
        next();
      },
      noRebinding(settings),
      requestRate(settings, events),
    ],
    router: createApiRouter({
      dispatcher: () => current.counted,
      metrics: scrape(metrics.registry, () => current),
      ending: ending.signal,
      gate: gate(() => settings().apiMaxConcurrent, metrics.calls, {
        ...defaultGateLimits,
        ...parts.gateLimits,
      }),
      onUnexpected: failed,
    }),
    failed,
  });

  const refused = refusalLog(clock, (ip, reason, more) =>
    events.emit({ action: 'connection-refused', level: 'warning', fields: { ip, reason, more } }),
  );
  const listen = (place: ListenPlace, tls: SecureContextOptions | undefined) =>
    listenAt({ place, tls, limits, handle: app, refused, failed });
  let places: readonly ListenPlace[] = [];
  const listened = await listenPlaces(settings(), options)
    .mapErr((error): CtrlExecError => error)
    .andThen((found) => {
      places = found;
      parts.starting?.(settings(), places);
      return new ResultAsync(listenAtAll(places, (place) => listen(place, current.tls)));
    });
  if (listened.isErr()) {
    await current.dispatcher.close();
    return err(listened.error);
  }
  const warnings = () => [...current.warnings, ...exposure(settings(), places)];
  const servers = listened.value;
  const addresses = servers.map(({ address }) => address);
  for (const address of addresses) events.emit({ action: 'api-start', fields: { address } });
  for (const warning of warnings()) warn(warning);

  const maintaining = keepMaintained({
    dispatcher: () => current.dispatcher,
    interval: () => settings().certCheckInterval,
    events,
    maintained: metrics.maintained,
  });
  const stopLooking = lookEveryMinute({ dispatcher: () => current.dispatcher, events });

  /** Those that were replaced, until the last request that may use them has ended. */
  const retiring = new Set<Dispatcher>();
  const retire = async (dispatcher: Dispatcher) => {
    retiring.add(dispatcher);
    await requests.settled((response) => begunOn.get(response) === dispatcher);
    await dispatcher.settled();
    await dispatcher.close();
    retiring.delete(dispatcher);
  };

  const reload = async (): Promise<Result<void, CtrlExecError>> => {
    const fresh = await load();
    if (fresh.isErr()) {
      events.emit({ action: 'api-reload', level: 'error', fields: { reason: fresh.error.message } });
      return err(fresh.error);
    }
    if (closing) {
      await fresh.value.dispatcher.close();
      return ok(undefined);
    }
    const former = current;
    const { tls } = fresh.value;
    current = { ...fresh.value, counted: metrics.dispatcher(fresh.value.dispatcher) };
    if (tls) for (const server of servers) server.renew(tls);
    void retire(former.dispatcher);
    maintaining.rearm();
    events.emit({ action: 'api-reload', fields: { reason: undefined } });
    for (const warning of warnings()) warn(warning);
    const keys = needsRestart(former, current);
    if (keys.length > 0) warn(`${current.settings.file}: ${keys.join(', ')} will hold after a restart`);
    return ok(undefined);
  };

  const stop = async (hurry: Promise<void>) => {
    for (const server of servers) server.stopListening();
    ending.abort();
    maintaining.stop();
    stopLooking();
    const dispatchers = () => [current.dispatcher, ...retiring];
    const finished = async () => {
      await requests.settled();
      await Promise.all(dispatchers().map((dispatcher) => dispatcher.settled()));
    };
    const connectionsClosed = Promise.all(servers.map((server) => server.closed()));
    await Promise.race([finished(), hurry]);
    // What is still under way ends as aborted, and says so.
    const dispatchersClosed = Promise.all(dispatchers().map((dispatcher) => dispatcher.close()));
    await within(requests.settled(), farewell);
    for (const server of servers) server.closeAll();
    await connectionsClosed;
    await within(dispatchersClosed, farewell);
    for (const address of addresses) events.emit({ action: 'api-stop', fields: { address } });
  };

  let reloading: Promise<unknown> = Promise.resolve();
  let hurryUp = () => {};
  const hurry = new Promise<void>((resolve) => {
    hurryUp = resolve;
  });
  return ok({
    addresses,
    warnings: warnings(),
    reload() {
      const next = reloading.then(reload);
      reloading = next;
      return new ResultAsync(next);
    },
    async close(grace = 30_000) {
      const timer = setTimeout(hurryUp, grace);
      closing ??= stop(hurry);
      await closing;
      clearTimeout(timer);
    },
  });
}

/** All places or none. */
async function listenAtAll(
  places: readonly ListenPlace[],
  listen: (place: ListenPlace) => ReturnType<typeof listenAt>,
): Promise<Result<readonly ListeningServer[], CtrlExecError>> {
  const servers: ListeningServer[] = [];
  for (const place of places) {
    const listened = await listen(place);
    if (listened.isOk()) {
      servers.push(listened.value);
      continue;
    }
    for (const server of servers) {
      server.stopListening();
      server.closeAll();
      await server.closed();
    }
    return err(listened.error);
  }
  return ok(servers);
}

/** Waits for something, but not for ever. */
async function within(work: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
