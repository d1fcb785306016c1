import { randomBytes } from 'node:crypto';
import type { RequestHandler } from 'express';

/** Every answer names its request, as the client or a proxy has named it if that is a plain name. */
export const requestId: RequestHandler = (request, response, next) => {
  const given = request.headers['x-request-id'];
  const usable = typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given);
  response.setHeader('x-request-id', usable ? given : randomBytes(8).toString('hex'));
  next();
};
