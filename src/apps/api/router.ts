import express from 'express';
import {
  callback,
  either,
  having,
  listOf,
  maybe,
  number,
  readBy,
  record,
  signal,
  type Wrong,
  wrongText,
} from '../../domain/core/border.js';
import { errorMessage, errorName, isError } from '../../domain/core/thrown.js';
import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import { version } from '../version.js';
import { refuse, refuseBusy } from './answers/answer.js';
import { heartbeatInterval } from './answers/event-stream.js';
import { isDeployed, refusal } from './answers/refusals.js';
import { answer, openHandler } from './call.js';
import { docsHandlers } from './document/docs.js';
import type { MetricsSource } from './routes/metrics.js';
import { apiRoutes } from './routes.js';
import { type Admitted, admit, internal } from './serve/admission.js';
import { endsWithConnection } from './serve/broken-connections.js';
import { type Gate, isScrape, openGate } from './serve/gate.js';
import { type Held, held } from './serve/held.js';
import { requestId } from './serve/request-id.js';

/** What the routes stand on. */
export interface ApiRouterOptions {
  /** The dispatcher that answers. A function is asked at each request, so that a reload can put another in its place. */
  readonly dispatcher: Dispatcher | (() => Dispatcher);
  /** Runs before every route, `GET /health` included: limits, metrics. Default: none. */
  readonly middleware?: readonly express.RequestHandler[];
  /**
   * Answers `GET /metrics`, of whom the hook allows `api` and then `metrics`: the text, and its content type. Default: there is no
   * such route, for what the process counts is for whoever runs it to tell.
   */
  readonly metrics?: MetricsSource;
  /** Milliseconds between two signs of life in a stream of events. Default: 15,000. */
  readonly heartbeat?: number;
  /** Aborted when the server is about to end: answers that only watch what others do end then. Default: they do not. */
  readonly ending?: AbortSignal;
  /** How many requests are let in at a time. Default: any number, with 20 s for a body; whoever embeds it limits by himself. */
  readonly gate?: Gate;
  /**
   * Told what a handler has thrown, which is a bug; the client is told `internal error` and no more. Default: a warning of the
   * process.
   */
  readonly onUnexpected?: (error: unknown, requestId: string) => void;
}

const notFound = refusal('notFound');

/** As express writes paths. */
const pattern = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

const warn = (error: unknown): void =>
  process.emitWarning(isError(error) ? (error as Error) : errorMessage(error));

const members = record<ApiRouterOptions>({
  dispatcher: either(having<Dispatcher>('run', 'authorise', 'agents'), callback<() => Dispatcher>()),
  middleware: maybe(listOf(callback<express.RequestHandler>())),
  metrics: maybe(callback()),
  heartbeat: maybe(number),
  ending: maybe(signal),
  gate: maybe(having<Gate>('enter', 'admit')),
  onUnexpected: maybe(callback()),
});

/** What answers where options are wrong: the program learns it at once, a client nothing about it. */
function refusingRouter(wrong: Wrong): express.Router {
  warn(new Error(`createApiRouter: ${wrongText(wrong)}`));
  return express.Router().use(requestId, (_request, response) => refuse(response, internal));
}

/**
 * The HTTP API as an express router, to be mounted under any path, all of which is its own. Nothing listens and nothing is
 * opened before the first request. Wrong options are a warning of the process, and every request is answered 500.
 */
export function createApiRouter(given: ApiRouterOptions): express.Router {
  const judged = readBy(members, given);
  return judged.wrong ? refusingRouter(judged.wrong) : routerOf(judged.value as ApiRouterOptions);
}

function routerOf(options: ApiRouterOptions): express.Router {
  const { middleware = [], heartbeat = heartbeatInterval, onUnexpected = warn, gate = openGate } = options;
  const { ending = new AbortController().signal } = options;
  const { dispatcher: given } = options;
  const dispatcher = typeof given === 'function' ? given : () => given;
  const router = express.Router({ caseSensitive: true, strict: true });
  const { routes } = apiRoutes(version, options.metrics);
  const admitted = new WeakMap<express.Request, Admitted>();
  const scraping = new WeakMap<express.Request, Held>();

  router.use(endsWithConnection, requestId, ...middleware);
  for (const route of routes.filter(({ permission }) => permission === 'nobody'))
    router[route.method](pattern(route.path), openHandler(route, dispatcher));

  const docs = docsHandlers();
  router.use(async (request, response, next) => {
    const place = gate.enter(request);
    if (place.busy !== undefined) return refuseBusy(response, place.busy);
    const admission = admit(request, dispatcher(), gate.body);
    if (isScrape(request)) {
      const holding = held(response, place.leave);
      scraping.set(request, holding);
      await holding.during(admission);
      if (response.destroyed) return;
    }
    const outcome = await admission.finally(isScrape(request) ? undefined : place.leave);
    if (outcome.isErr()) return refuse(response, docs.challenged(request, response, outcome.error));
    admitted.set(request, outcome.value);
    // For whoever logs the request.
    response.locals['username'] = outcome.value.asking.caller.username;
    next();
  });

  for (const route of routes)
    router[route.method](pattern(route.path), async (request, response) => {
      const who = admitted.get(request);
      if (!who) throw new Error('a request that nobody has admitted');
      const work = () => answer(route, who, request, response, { heartbeat, ending });
      const scrape = scraping.get(request);
      if (scrape) return scrape.during(work());
      const { username = '' } = who.asking.caller;
      const place = gate.admit(request, username, route.watches === true);
      if (place.busy !== undefined) return refuseBusy(response, place.busy);
      await held(response, place.leave).during(work());
    });
  for (const { path, handler } of docs.pages) router.get(path, handler);

  const methods = new Map<string, Set<string>>();
  for (const { path, method } of routes)
    methods.set(path, (methods.get(path) ?? new Set()).add(method.toUpperCase()));
  // Of deployed servers a route is its method and its path: with another method there is none.
  for (const [path, allowed] of [...methods].filter(([path]) => !isDeployed(path)))
    router.all(pattern(path), (_request, response) => {
      const allow = [...allowed].sort().join(', ');
      response.setHeader('allow', allow);
      refuse(response, refusal('method', `expected ${allow}`));
    });

  router.use((_request, response) => refuse(response, notFound));
  const failed: express.ErrorRequestHandler = (error, _request, response, _next) => {
    // An address that cannot be decoded.
    if (errorName(error) === 'URIError')
      return refuse(response, refusal('undecodable', 'path: not decodable'));
    onUnexpected(error, String(response.getHeader('x-request-id')));
    if (response.headersSent) response.destroy();
    else refuse(response, internal);
  };
  router.use(failed);
  return router;
}
