import { randomBytes } from 'node:crypto';
import type { Request, RequestHandler } from 'express';

/** How a request is called: as the client or a proxy has named it if that is a plain name. */
export function requestIdOf({ headers }: Pick<Request, 'headers'>): string {
  const given = headers['x-request-id'];
  const usable = typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given);
  return usable ? given : randomBytes(8).toString('hex');
}

/** Every answer names its request. Where that was done before, it stays. */
export const requestId: RequestHandler = (request, response, next) => {
  if (!response.hasHeader('x-request-id')) response.setHeader('x-request-id', requestIdOf(request));
  next();
};
