import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Response } from 'express';
import { expect, it } from 'vitest';
import { memoryEventLog } from '../../../../../src/adapters/memory/event-log.js';
import { taken } from '../../../../../src/apps/api/answers/answer.js';
import { endsWithConnection } from '../../../../../src/apps/api/serve/broken-connections.js';
import { requestsUnderWay } from '../../../../../src/apps/api/serve/requests.js';
import { atEnd } from '../../../../support/commands/commands.js';
import { eventually } from '../../../../support/fleet/fleet.js';
import { openTcp } from '../../../../support/network/raw-tls.js';

it('requests that wait behind another are over when their connection breaks, each once', async () => {
  const ended: number[] = [];
  const requests = requestsUnderWay(memoryEventLog(), ({ status }) => ended.push(status));
  const answers: Response[] = [];
  const app = express().use(endsWithConnection, requests.observe, (_request, response) => {
    answers.push(response);
  });
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const socket = await openTcp((server.address() as AddressInfo).port);
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3));
  await eventually(() => expect(answers).toHaveLength(3));
  // Of none of them: there is nothing to wait for.
  await requests.settled((response) => !answers.includes(response));
  const waiting = Promise.all(answers.map(taken));
  socket.resetAndDestroy();
  await Promise.all([requests.settled(), waiting]);
  for (const answer of answers) answer.end('late');
  await new Promise(setImmediate);
  expect(ended).toEqual([499, 499, 499]);
  expect(requests.count()).toBe(0);
});
