import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import type { PairingCode, PairingOptions } from '../../../../src/sdk/agent/pairing/options.js';
import type { PairingMode } from '../../../../src/sdk/dispatcher/pairing/pairing-mode.js';
import { failure, value } from '../../../contract/result.js';
import {
  dispatcherHost,
  type MemoryFleet,
  pairAgent,
  pairingFleet,
  setUp,
  type TestAgent,
  type TestDispatcher,
} from '../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let joining: TestAgent;
let mode: PairingMode;

beforeEach(async () => {
  ({ fleet, control, mode, joining } = await pairingFleet());
});

const identity = (agent: TestAgent) =>
  agent.context
    .keyStore(undefined as never)
    .read(['agent-key', 'agent-certificate', 'ca-certificate', 'trusted-dispatchers']);
const nothingInstalled = async (agent: TestAgent) =>
  expect(Object.values(value(await identity(agent)))).toEqual([undefined, undefined, undefined, undefined]);

/** Begins to pair; `shown` is there once the agent shows its code, without any time having passed. */
function begin(agent: TestAgent, options: Partial<PairingOptions> = {}) {
  let show: (code: PairingCode) => void;
  const shown = new Promise<PairingCode>((resolve) => {
    show = resolve;
  });
  const pairing = agent.agent.pair({
    dispatcher: dispatcherHost,
    trust: { kind: 'compare', confirm: async () => true },
    onCode: (code) => show(code),
    ...options,
  });
  return { pairing, shown };
}

const diskFull = errorOf('file_failed', 'disk full', { path: '/', operation: 'write', reason: 'ENOSPC' });

describe('pairing', () => {
  it('ends with an active registry row and an installed identity', async () => {
    const paired = value(await pairAgent(fleet, control, joining));
    expect(paired).toMatchObject({ name: 'web-01', dispatcherId: 'control' });
    const [record] = value(await control.dispatcher.agents());
    expect(record).toMatchObject({
      name: 'web-01',
      pairing: 'v2',
      endpoint: { host: 'web-01', ip: '192.0.2.77', port: 7443 },
    });
    expect(record?.pins).toMatchObject([{ state: 'active', serial: paired.serial }]);
    const status = value(await joining.agent.pairingStatus());
    expect(status).toMatchObject({ paired: true, name: 'web-01', dispatchers: ['control'] });
  });

  it('shows the same six digits on both sides', async () => {
    const shown: (string | undefined)[] = [];
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: {
        kind: 'compare',
        confirm: async ({ code }) => {
          const [request] = value(await control.dispatcher.pairingRequests());
          shown.push(code, request?.code);
          return false;
        },
      },
    });
    await fleet.settle(pairing);
    expect(shown).toEqual([expect.stringMatching(/^\d{6}$/), shown[0]]);
  });

  it('installs nothing when the person at the agent says no, although the operator approved', async () => {
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: {
        kind: 'compare',
        confirm: async ({ request }) => {
          value(await control.dispatcher.approve({ id: request }));
          return false;
        },
      },
    });
    expect(failure(await fleet.settle(pairing)).code).toBe('codes_differ');
    await nothingInstalled(joining);
    expect(value(await control.dispatcher.agents())).toEqual([]);
  });

  it('gives its place in the queue back at once when the person at the agent says no', async () => {
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: { kind: 'compare', confirm: async () => false },
    });
    expect(failure(await fleet.settle(pairing)).code).toBe('codes_differ');
    expect(value(await control.dispatcher.pairingRequests())).toEqual([]);
  });

  it('says no all the same when the dispatcher is gone by then', async () => {
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: {
        kind: 'compare',
        confirm: async () => {
          value(await mode.close());
          return false;
        },
      },
    });
    expect(failure(await fleet.settle(pairing)).code).toBe('codes_differ');
  });

  it('waits for the operator, whichever side confirms first', async () => {
    const { pairing, shown } = begin(joining);
    const { request } = await shown;
    await fleet.clock.advance(30_000);
    value(await control.dispatcher.approve({ id: request.slice(0, 8) }));
    expect(value(await fleet.settle(pairing)).name).toBe('web-01');
  });

  it('tells the agent why it was denied', async () => {
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: {
        kind: 'compare',
        confirm: async ({ request }) => {
          value(await control.dispatcher.deny(request, 'not today'));
          return true;
        },
      },
    });
    expect(failure(await fleet.settle(pairing))).toMatchObject({
      code: 'pairing_denied',
      reason: 'not today',
    });
    await nothingInstalled(joining);
  });

  it('expires when nobody decides within ten minutes', async () => {
    const { pairing, shown } = begin(joining);
    await shown;
    expect(failure(await fleet.settle(pairing, 500)).code).toBe('pairing_expired');
    expect(value(await control.dispatcher.pairingRequests())).toEqual([]);
    await nothingInstalled(joining);
  });

  it('refuses and ends the request when the operator reads another code', async () => {
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: {
        kind: 'compare',
        confirm: async ({ code, request }) => {
          const wrong = code === '000000' ? '000001' : '000000';
          const refused = await control.dispatcher.approve({ id: request, code: wrong });
          expect(failure(refused).code).toBe('codes_differ');
          const again = await control.dispatcher.approve({ id: request, code });
          expect(again.isErr()).toBe(true);
          return true;
        },
      },
    });
    expect(failure(await fleet.settle(pairing)).code).toBe('pairing_denied');
    await nothingInstalled(joining);
  });

  it('needs --replace for a name that is registered, and keeps the old key until the new one is installed', async () => {
    const first = value(await pairAgent(fleet, control, joining));
    const second = fleet.agent('web-01');
    const refused = await pairAgent(fleet, control, second);
    expect(failure(refused).code).toBe('codes_differ');
    const replaced = value(await pairAgent(fleet, control, fleet.agent('web-01'), { replace: true }));
    const [record, ...others] = value(await control.dispatcher.agents());
    expect(others).toEqual([]);
    expect(record?.pins.map(({ serial }) => serial)).toEqual([replaced.serial]);
    expect(replaced.serial).not.toBe(first.serial);
  });

  it('can be begun anew after a certificate was issued and could not be installed', async () => {
    const full = fleet.agent('web-01', '', { replace: () => errAsync(diskFull) });
    const failed = await pairAgent(fleet, control, full);
    expect(failure(failed)).toMatchObject({ code: 'file_failed', reason: 'ENOSPC' });
    expect(value(await control.dispatcher.agents())).toMatchObject([{ pins: [{ state: 'issued' }] }]);
    const again = await pairAgent(fleet, control, joining, { replace: true });
    expect(value(again).name).toBe('web-01');
    expect(value(await control.dispatcher.agents())).toMatchObject([{ pins: [{ state: 'active' }] }]);
  });

  it('accepts the CA fingerprint in place of a person, and refuses another one', async () => {
    const { fingerprint } = value(await control.dispatcher.ca());
    const printed = `sha256 Fingerprint=${fingerprint.toUpperCase().replace(/..(?=.)/g, '$&:')}\n`;
    const { pairing, shown } = begin(joining, { trust: { kind: 'ca-sha256', fingerprint: printed } });
    const request = (await shown).request;
    expect(failure(await control.dispatcher.approve({ id: request, name: 'localhost' })).message).toBe(
      '"localhost" cannot be the name of an agent, because every host has it: give another one',
    );
    value(await control.dispatcher.approve({ id: request }));
    expect(value(await fleet.settle(pairing)).name).toBe('web-01');

    const other = fingerprint.startsWith('00') ? `11${fingerprint.slice(2)}` : `00${fingerprint.slice(2)}`;
    const wary = fleet.agent('web-02');
    const refused = await fleet.settle(
      wary.agent.pair({ dispatcher: dispatcherHost, trust: { kind: 'ca-sha256', fingerprint: other } }),
    );
    expect(failure(refused).code).toBe('wrong_identity');
    await nothingInstalled(wary);
  });

  it('asks for no name that every host has, and connects to nobody', async () => {
    const refused = await joining.agent.pair({
      dispatcher: dispatcherHost,
      hostName: 'localhost.localdomain',
      trust: { kind: 'first-use' },
    });
    expect(failure(refused)).toMatchObject({ code: 'invalid_argument', field: 'name' });
    expect(failure(await control.dispatcher.issueJoinToken({ host: '10.0.0.1' }))).toMatchObject({
      field: 'host',
      message: expect.stringContaining('it is an address: give another one'),
    });
  });

  it('does not give up an identity of another CA unless told to', async () => {
    value(await pairAgent(fleet, control, joining));
    const elsewhere = fleet.dispatcher('other.test');
    await setUp(elsewhere);
    const refused = await fleet.settle(
      joining.agent.pair({ dispatcher: 'other.test', trust: { kind: 'compare', confirm: async () => true } }),
    );
    expect(failure(refused).code).toBe('identity_exists');
    const kept = value(await joining.agent.pairingStatus());
    expect(kept.dispatchers).toEqual(['control']);
  });

  it('lets two requests of one address wait, and tells a third to come later', async () => {
    const undecided = { kind: 'compare', confirm: () => new Promise<boolean>(() => undefined) } as const;
    await begin(joining, { trust: undecided }).shown;
    await begin(joining, { trust: undecided }).shown;
    const third = await begin(joining, { timeout: 5 }).pairing;
    expect(failure(third)).toMatchObject({ code: 'refused', reason: 'queue_full' });
  });
});
