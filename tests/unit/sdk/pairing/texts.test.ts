import { beforeEach, describe, expect, it } from 'vitest';
import { type HttpAnswer, jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { failure, value } from '../../../contract/result.js';
import { issueAgent } from '../../../support/fleet/memory-agents.js';
import {
  dispatcherHost,
  identify,
  type MemoryFleet,
  memoryFleet,
  pairingPort,
  setUp,
} from '../../../support/fleet/memory-fleet.js';

const hostile = '\u001b[2Jpaired\r\n\u009b31m\u202e';
const unsafe = /[\p{Cc}\p{Cf}]/u;

let fleet: MemoryFleet;

beforeEach(() => {
  fleet = memoryFleet();
});

/** Pairs with somebody on the pairing port who answers everything with this. */
const pairWith = async (answer: HttpAnswer) => {
  const control = fleet.dispatcher('elsewhere.test');
  await identify(control);
  const { credentials } = await issueAgent(control, 'fake');
  const options = { bind: '', port: pairingPort, maxBody: 65_536, maxConnections: 9, credentials };
  const listener = fleet.network.listener(dispatcherHost);
  value(await listener.listen({ ...options, handle: async () => answer }));
  const { agent } = fleet.agent('web-01');
  const trust = { kind: 'compare', confirm: async () => true } as const;
  return failure(await fleet.settle(agent.pair({ dispatcher: dispatcherHost, trust })));
};

describe('what a pairing port says does not reach the terminal of the agent as control characters', () => {
  it.each<[string, HttpAnswer]>([
    ['an unknown member', jsonAnswer(201, { v: 2, [hostile]: 1 })],
    ['an error code', jsonAnswer(400, { status: 'error', error: hostile })],
    ['a reason', jsonAnswer(403, { status: 'error', reason: hostile })],
    ['a member of every object', jsonAnswer(403, { status: 'error', error: 'constructor' })],
  ])('%s', async (_what, answer) => {
    const { message } = await pairWith(answer);
    expect(message).not.toMatch(unsafe);
    expect(message).not.toContain('native code');
  });

  it('the reason of a denial', async () => {
    const control = fleet.dispatcher();
    await setUp(control);
    const { agent } = fleet.agent('web-01');
    const pairing = agent.pair({
      dispatcher: dispatcherHost,
      trust: {
        kind: 'compare',
        confirm: async ({ request }) => {
          value(await control.dispatcher.deny(request, hostile));
          return true;
        },
      },
    });
    const refused = failure(await fleet.settle(pairing));
    expect(refused.code).toBe('pairing_denied');
    expect(refused.message).not.toMatch(unsafe);
  });
});
