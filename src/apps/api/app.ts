import express, { type ErrorRequestHandler, type RequestHandler } from 'express';
import type { EventLog } from '../../ports/event-log.js';

/** The layers of the server, outermost first. */
export interface AppParts {
  readonly before: readonly RequestHandler[];
  readonly router: RequestHandler;
  readonly events: EventLog;
}

const notFound: RequestHandler = (_request, response) => {
  response.status(404).json({ ok: false, error: 'not found' });
};

/** What answers every request that node:http takes for one. */
export function createApp({ before, router, events }: AppParts): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  // Whoever is in front may say what he likes about whom he speaks for.
  app.set('trust proxy', false);
  app.use(...before);
  app.use(router);
  app.use(notFound);
  const onError: ErrorRequestHandler = (error: unknown, _request, response, _next) => {
    // Of express itself: an address that cannot be decoded, say.
    const status: unknown = (error as { status?: unknown } | null)?.status;
    const theirs = typeof status === 'number' && status >= 400 && status < 500;
    if (!theirs) events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } });
    if (response.headersSent) response.destroy();
    else if (theirs) response.status(status).json({ ok: false, error: 'invalid request' });
    else response.status(500).json({ ok: false, error: 'internal error' });
  };
  app.use(onError);
  return app;
}
