import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { expect, it } from 'vitest';
import { answerJson, refuse } from '../../../../../src/apps/api/answers/answer.js';
import { refusalOf } from '../../../../../src/apps/api/answers/refusals.js';
import { requestsUnderWay } from '../../../../../src/apps/api/serve/requests.js';
import { failure } from '../../../../../src/domain/core/errors.js';
import type { LogEvent } from '../../../../../src/domain/core/event.js';

it('what failed on this host is said in the log, and to clients only that something did', async () => {
  const logged: LogEvent[] = [];
  const app = express();
  app.use(requestsUnderWay({ emit: (event) => logged.push(event) }, () => {}).observe);
  const broken = failure('store_failed', '/secret/ctrl-exec.db: malformed', {
    operation: 'registry.list',
    reason: 'malformed',
  });
  app.get('/broken', (_request, response) => refuse(response, refusalOf(broken, false)));
  app.get('/whole', (_request, response) => void answerJson(response, 200, {}));
  const server = createServer(app);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}/broken`);
  expect(await answer.json()).toEqual({
    ok: false,
    error: 'store_failed',
    detail: 'the store of the dispatcher failed',
  });
  await (await fetch(`http://127.0.0.1:${port}/whole`)).text();
  server.closeAllConnections();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  expect(logged.map(({ fields }) => ('reason' in fields ? fields.reason : 'none'))).toEqual([
    '/secret/ctrl-exec.db: malformed',
    undefined,
  ]);
});
