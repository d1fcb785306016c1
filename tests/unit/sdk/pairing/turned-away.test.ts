import { errAsync } from 'neverthrow';
import { expect, it } from 'vitest';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import type { Transport } from '../../../../src/ports/transport.js';
import { failure, value } from '../../../contract/result.js';
import { pairAgent, pairingFleet, type TestAgent } from '../../../support/fleet/memory-fleet.js';

/** The first so many connections of an agent are closed while they are being made. Counts all that it asks for. */
function turnAway(joining: TestAgent, times: number, reason: string): () => number {
  const { transport } = joining.context;
  const through = transport.request.bind(transport);
  let asked = 0;
  const request: Transport['request'] = (target, message) => {
    asked += 1;
    return asked > times
      ? through(target, message)
      : errAsync(errorOf('connection_failed', 'closed', { host: target.host, reason }));
  };
  Object.assign(transport, { request });
  return () => asked;
}

it('comes again when the pairing port has turned its connection away, as one too many of an address', async () => {
  const { fleet, control, joining } = await pairingFleet();
  const asked = turnAway(joining, 3, 'ECONNRESET');
  value(await pairAgent(fleet, control, joining));
  expect(asked()).toBeGreaterThan(3);
});

it('does so for as long as it was given', async () => {
  const { fleet, control, joining } = await pairingFleet();
  const asked = turnAway(joining, Number.POSITIVE_INFINITY, 'ECONNRESET');
  const ended = await pairAgent(fleet, control, joining, { timeout: 35 });
  expect(failure(ended)).toMatchObject({ code: 'connection_failed' });
  expect(asked()).toBe(4);
});

it('gives up at once where there is no way to the dispatcher', async () => {
  const { fleet, control, joining } = await pairingFleet();
  const asked = turnAway(joining, Number.POSITIVE_INFINITY, 'EHOSTUNREACH');
  const ended = await pairAgent(fleet, control, joining);
  expect(failure(ended)).toMatchObject({ code: 'connection_failed', reason: 'EHOSTUNREACH' });
  expect(asked()).toBe(1);
});

it('comes again when the dispatcher was too busy to read its request in time', async () => {
  const { fleet, control, joining } = await pairingFleet();
  const { transport } = joining.context;
  const through = transport.request.bind(transport);
  let late = 2;
  const request: Transport['request'] = (target, message) =>
    late-- > 0
      ? through(target, { ...message, path: '/nowhere' }).map((answer) => ({
          ...answer,
          status: 408,
          body: new TextEncoder().encode('{"error":"request timeout"}'),
        }))
      : through(target, message);
  Object.assign(transport, { request });
  value(await pairAgent(fleet, control, joining));
  expect(late).toBeLessThan(0);
});
