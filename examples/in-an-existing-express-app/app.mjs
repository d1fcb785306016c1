// The API below /fleet of an application that has its own users: node app.mjs HOME [PORT]
import { timingSafeEqual } from 'node:crypto';
import { openDispatcher } from 'ctrl-exec';
import { createApiRouter } from 'ctrl-exec/express';
import express from 'express';

const [home = '', port = '8080'] = process.argv.slice(2);
const secret = process.env['APP_TOKEN'] ?? '';
if (secret.length < 16) throw new Error('APP_TOKEN: expected 16 characters or more');

/**
 * Whoever is not logged in here never reaches the dispatcher.
 * @param {express.Request} request
 * @param {express.Response} response
 * @param {express.NextFunction} next
 */
const loggedIn = (request, response, next) => {
  const given = Buffer.from(request.get('x-app-token') ?? '');
  const wanted = Buffer.from(secret);
  if (given.length === wanted.length && timingSafeEqual(given, wanted)) next();
  else response.status(401).json({ ok: false, error: 'log in first' });
};

const fleet = await openDispatcher({ home });
const app = express();
app.disable('x-powered-by');
app.get('/', (_request, response) => void response.send('the application itself\n'));
// No body parser in front: the API reads its bodies by itself.
app.use('/fleet', loggedIn, createApiRouter({ dispatcher: fleet }));

const server = app.listen(Number(port), '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening on ${typeof address === 'object' && address ? address.port : port}`);
});
process.once('SIGTERM', () => {
  server.close(() => void fleet.close());
});
