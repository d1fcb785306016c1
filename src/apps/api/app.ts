import express, { type RequestHandler } from 'express';
import { refuse } from './answers/answer.js';
import { internal } from './serve/admission.js';

/** The layers of the server, outermost first. */
export interface AppParts {
  readonly before: readonly RequestHandler[];
  /** Answers whatever is asked. */
  readonly router: RequestHandler;
  /** Told what a layer has thrown, which is a bug. */
  readonly failed: (error: unknown) => void;
}

/** What answers every request that node:http takes for one. */
export function createApp({ before, router, failed }: AppParts): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  // Whoever is in front may say what he likes about whom he speaks for.
  app.set('trust proxy', false);
  app.use(...before, router);
  const onError: express.ErrorRequestHandler = (error: unknown, _request, response, _next) => {
    failed(error);
    if (response.headersSent) response.destroy();
    else refuse(response, internal);
  };
  app.use(onError);
  return app;
}
