import express from 'express';
import type { Dispatcher } from '../../sdk/dispatcher.js';
import { version } from '../version.js';

/** What the routes stand on. */
export interface ApiRouterOptions {
  /** The dispatcher that answers. A function is asked at each request, so that a reload can put another in its place. */
  readonly dispatcher: Dispatcher | (() => Dispatcher);
  /** Runs before every route, `GET /health` included: limits, metrics. Default: none. */
  readonly middleware?: readonly express.RequestHandler[];
}

/**
 * The HTTP API as an express router, to be mounted under any path. Nothing listens and nothing is opened before the
 * first request.
 */
export function createApiRouter(options: ApiRouterOptions): express.Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  const dispatcher = () =>
    typeof options.dispatcher === 'function' ? options.dispatcher() : options.dispatcher;
  for (const middleware of options.middleware ?? []) router.use(middleware);
  router.get('/health', (_request, response) => {
    response.json({ ok: true, version });
  });
  router.get('/v1/locks', async (_request, response) => {
    const locks = await dispatcher().locks();
    response.json({ ok: true, locks: locks.unwrapOr([]) });
  });
  return router;
}
