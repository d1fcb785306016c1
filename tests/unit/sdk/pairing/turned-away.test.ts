import { expect, it } from 'vitest';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import { failure, value } from '../../../contract/result.js';
import { pairAgent, pairingFleet, type TestAgent } from '../../../support/fleet/memory-fleet.js';
import { failing, tapped } from '../../../support/network/tapped-channel.js';

/** The first so many connections of an agent are closed while they are being made. Counts all that it asks for. */
function turnAway(joining: TestAgent, times: number, reason: string): () => number {
  const { channel } = joining.context;
  let asked = 0;
  const { connect } = failing({ ...channel }, ({ host }) => {
    asked += 1;
    return asked > times ? undefined : errorOf('connection_failed', 'closed', { host, reason });
  });
  Object.assign(channel, { connect });
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
  const { channel } = joining.context;
  let late = 2;
  const { connect } = tapped({ ...channel }, (request, pass) =>
    late-- > 0
      ? pass({ ...request, path: '/nowhere' }).map((answer) => ({
          ...answer,
          status: 408,
          body: new TextEncoder().encode('{"error":"request timeout"}'),
        }))
      : pass(request),
  );
  Object.assign(channel, { connect });
  value(await pairAgent(fleet, control, joining));
  expect(late).toBeLessThan(0);
});
