import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { hex, utf8 } from '../../../../src/domain/core/bytes.js';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import { legacyPairingCode } from '../../../../src/domain/legacy/pairing.js';
import type { PairingRequest } from '../../../../src/domain/pairing/request.js';
import type { PairingMode, PairingModeOptions } from '../../../../src/sdk/dispatcher/pairing/pairing-mode.js';
import { failure, value } from '../../../contract/result.js';
import { dispatcherOver, withPorts } from '../../../support/fleet/memory-agents.js';
import {
  crypto,
  dispatcherHost,
  type MemoryFleet,
  memoryFleet,
  pairAgent,
  type TestDispatcher,
} from '../../../support/fleet/memory-fleet.js';
import { legacyJoiner } from '../../../support/legacy/memory.js';
import { askOver } from '../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let mode: PairingMode;
let changes: PairingRequest[];

const unlimited = 'pairing_rate_limit_volume = 1000/60/300\n';

async function prepare(options: PairingModeOptions = { allowV1: true }, configuration = unlimited) {
  fleet = memoryFleet();
  control = fleet.dispatcher(dispatcherHost, configuration);
  changes = [];
  value(await control.dispatcher.setupCa());
  value(await control.dispatcher.setup());
  const opened = control.dispatcher.openPairing({ ...options, onChange: (each) => changes.push(each) });
  mode = value(await opened);
}

beforeEach(() => prepare());

const requests = async () => value(await control.dispatcher.pairingRequests());
const agents = async () => value(await control.dispatcher.agents());
const pending = { status: 'pending', reqid: expect.stringMatching(/^[0-9a-f]{16}$/) };

/** An agent of version 1 whose request waits. */
async function asking(host: string, address?: string) {
  const joiner = await legacyJoiner(fleet, host, address);
  const asked = await joiner.ask();
  expect(asked.first).toEqual(pending);
  return { ...joiner, ...asked, id: String(asked.first['reqid']), second: asked.second() };
}

const answered = async (waiting: Awaited<ReturnType<typeof asking>>) =>
  value(await fleet.settle(waiting.second));

describe('a request of version 1', () => {
  it('is unknown to a dispatcher that does not serve it, as any other route', async () => {
    await prepare({});
    expect(mode.allowV1).toBe(false);
    const joiner = await legacyJoiner(fleet, 'web-01');
    const { status, first } = await joiner.ask();
    expect({ status, first }).toEqual({
      status: 404,
      first: { status: 'error', error: 'not_found', reason: 'no such route' },
    });
    expect(await requests()).toEqual([]);
  });

  it('is served where the configuration says so, unless whoever opens the port says no', async () => {
    await prepare({}, `${unlimited}allow_legacy_pairing = yes\n`);
    await asking('web-01');
    await prepare({ allowV1: false }, `${unlimited}allow_legacy_pairing = yes\n`);
    expect((await (await legacyJoiner(fleet, 'web-01')).ask()).status).toBe(404);
  });

  it('waits with the code of its CSR, and is marked as one of version 1', async () => {
    const { csr, id } = await asking('WEB-01');
    expect(await requests()).toMatchObject([
      {
        id,
        state: 'open',
        version: 'v1',
        host: 'web-01',
        ip: '192.0.2.50',
        port: 7443,
        lookupBy: 'hostname',
        code: legacyPairingCode(crypto.sha256, csr),
      },
    ]);
    expect(changes.map(({ state }) => state)).toEqual(['open']);
  });

  it('ends with a certificate of both usages, its own nonce, and whom to trust', async () => {
    const waiting = await asking('web-01');
    value(await control.dispatcher.approve({ id: waiting.id }));
    const approval = await answered(waiting);
    const own = value(await control.context.keyStore.read(['dispatcher-certificate']));
    const { serial } = value(crypto.readCertificate(own['dispatcher-certificate'] ?? ''));
    const cas = value(await control.context.authority.certificates());
    expect(approval).toMatchObject({
      status: 'approved',
      ca: cas.map(({ pem }) => pem).join(''),
      nonce: waiting.nonce,
      dispatcher_serial: serial,
      dispatcher_id: 'control',
    });
    const certificate = value(crypto.readCertificate(String(approval['cert'])));
    expect(certificate).toMatchObject({ commonName: 'web-01', usages: ['serverAuth', 'clientAuth'] });
    expect(certificate.spki).toEqual(waiting.spki);
    expect(await agents()).toMatchObject([
      {
        name: 'web-01',
        pairing: 'v1',
        pins: [{ state: 'issued', serial: certificate.serial, spkiSha256: hex(crypto.sha256(waiting.spki)) }],
        standing: { serials: [serial], speaks: undefined },
      },
    ]);
    expect(changes.map(({ state }) => state)).toEqual(['open', 'issued']);
  });

  it.each([
    ['10.0.0.7', '10.0.0.7'],
    ['2001:DB8:0::7', '2001:db8::7'],
    ['192.0.2.50', undefined],
    ['a name', undefined],
    [7, undefined],
  ])(
    'that says that its address is %j is registered where it came from, and both are shown',
    async (ip, shown) => {
      const joiner = await legacyJoiner(fleet, 'web-01');
      const { first } = await joiner.ask({ ip });
      expect((await requests()).map(({ ip, statedIp }) => [ip, statedIp])).toEqual([['192.0.2.50', shown]]);
      value(await control.dispatcher.approve({ id: String(first['reqid']) }));
    },
  );

  it('is not approved with an address that is none', async () => {
    const { id } = await asking('web-01');
    expect(failure(await control.dispatcher.approve({ id, ip: 'web-01' }))).toMatchObject({
      code: 'invalid_argument',
      field: 'ip',
    });
  });

  it('is registered with the address that the operator gives', async () => {
    const waiting = await asking('web-01');
    value(await control.dispatcher.approve({ id: waiting.id, ip: '2001:DB8:0::7' }));
    await answered(waiting);
    expect(await agents()).toMatchObject([{ name: 'web-01', endpoint: { ip: '2001:db8::7' } }]);
  });

  it('gets what the operator set in place of what it asked for', async () => {
    const waiting = await asking('web-01');
    const approval = { id: waiting.id, name: 'db-01', port: 8443, lookupBy: 'ip' } as const;
    value(await control.dispatcher.approve(approval));
    await answered(waiting);
    expect(await agents()).toMatchObject([
      { name: 'db-01', endpoint: { host: 'web-01', ip: '192.0.2.50', port: 8443, lookupBy: 'ip' } },
    ]);
  });

  it('is told that it was denied, and why', async () => {
    const waiting = await asking('web-01');
    value(await control.dispatcher.deny(waiting.id, 'not today'));
    expect(await answered(waiting)).toEqual({ status: 'denied', reason: 'not today' });
    expect(await agents()).toEqual([]);
    expect(await requests()).toEqual([]);
  });

  it('expires after ten minutes, in the words of deployed dispatchers', async () => {
    const waiting = await asking('web-01');
    await fleet.clock.advance(599_000);
    expect(await requests()).toHaveLength(1);
    await fleet.clock.advance(1_000);
    expect(await answered(waiting)).toEqual({ status: 'denied', reason: 'approval timeout' });
    expect(await requests()).toEqual([]);
    expect((await control.dispatcher.approve({ id: waiting.id })).isErr()).toBe(true);
  });

  it('expires at once when its agent has gone, and keeps its place until it is denied', async () => {
    const waiting = await asking('web-01');
    waiting.hangUp();
    await fleet.settle(waiting.second);
    await fleet.clock.advance(1);
    expect(await requests()).toEqual([]);
    expect(changes.map(({ state }) => state)).toEqual(['open', 'expired']);
    expect((await control.dispatcher.approve({ id: waiting.id })).isErr()).toBe(true);
    await asking('web-01');
    const third = await legacyJoiner(fleet, 'web-01');
    expect((await third.ask()).first).toEqual({ status: 'error', reason: 'pairing queue full' });
    value(await control.dispatcher.deny(waiting.id));
    expect((await third.ask()).first).toEqual(pending);
  });

  it('is not certified when its agent has gone before the approval was seen', async () => {
    const waiting = await asking('web-01');
    value(await control.dispatcher.approve({ id: waiting.id }));
    waiting.hangUp();
    await fleet.settle(waiting.second);
    await fleet.clock.advance(5_000);
    expect(await agents()).toEqual([]);
  });

  it('is decided by whichever terminal is first', async () => {
    const other = dispatcherOver(control.context);
    const waiting = await asking('web-01');
    const [first, second] = await Promise.all([
      other.approve({ id: waiting.id }),
      control.dispatcher.deny(waiting.id),
    ]);
    expect([first.isOk(), second.isOk()].filter(Boolean)).toHaveLength(1);
    expect((await answered(waiting))['status']).toBe(first.isOk() ? 'approved' : 'denied');
  });

  it('is told when pairing mode is closed', async () => {
    const waiting = await asking('web-01');
    const closing = mode.close();
    expect(await answered(waiting)).toEqual({ status: 'denied', reason: 'pairing mode was closed' });
    value(await closing);
    expect(await requests()).toEqual([]);
  });
});

describe('version 1 cannot be used to', () => {
  it('take the place of a name that is paired by version 2', async () => {
    value(await pairAgent(fleet, control, fleet.agent('web-01')));
    const [before] = await agents();
    const waiting = await asking('web-01');
    const approved = await control.dispatcher.approve({ id: waiting.id, replace: true });
    expect(failure(approved).code).toBe('downgrade_refused');
    waiting.hangUp();
    expect(await agents()).toEqual([before]);
  });

  it('take the place of a name that paired by version 2 once and was removed since', async () => {
    value(await pairAgent(fleet, control, fleet.agent('web-01')));
    value(await control.dispatcher.unpair('web-01'));
    const waiting = await asking('web-01');
    value(await control.dispatcher.approve({ id: waiting.id, replace: true }));
    expect(await answered(waiting)).toEqual({
      status: 'denied',
      reason: '"web-01" has paired by version 2 before',
    });
    expect(await agents()).toEqual([]);
    expect(changes.at(-1)?.state).toBe('denied');
  });

  it('take the place of a name that is registered, unless the operator says so', async () => {
    const first = await asking('web-01');
    value(await control.dispatcher.approve({ id: first.id }));
    await answered(first);
    const second = await asking('web-01');
    expect(failure(await control.dispatcher.approve({ id: second.id })).code).toBe('agent_exists');
    value(await control.dispatcher.approve({ id: second.id, replace: true }));
    expect((await answered(second))['status']).toBe('approved');
  });

  it('have one key registered under two names', async () => {
    const first = await legacyJoiner(fleet, 'web-01');
    for (const [hostname, status] of [
      ['web-01', 'approved'],
      ['web-02', 'denied'],
    ] as const) {
      const asked = await first.ask({ hostname });
      value(await control.dispatcher.approve({ id: String(asked.first['reqid']) }));
      expect(value(await fleet.settle(asked.second()))['status'], hostname).toBe(status);
    }
    expect((await agents()).map(({ name }) => name)).toEqual(['web-01']);
  });

  it('pair again with a key that was revoked', async () => {
    const joiner = await legacyJoiner(fleet, 'web-01');
    const asked = await joiner.ask();
    value(await control.dispatcher.approve({ id: String(asked.first['reqid']) }));
    value(await fleet.settle(asked.second()));
    value(await fleet.settle(control.dispatcher.revoke('web-01')));
    expect((await joiner.ask()).first).toEqual({ status: 'error', reason: 'invalid request' });
  });

  it('guess the code: three wrong ones close what people compare', async () => {
    for (const turn of [1, 2, 3]) {
      const waiting = await asking(`web-0${turn}`, `192.0.2.${turn}`);
      const [{ code } = { code: '' }] = await requests();
      const wrong = code === '000000' ? '000001' : '000000';
      const refused = await control.dispatcher.approve({ id: waiting.id, code: wrong });
      expect(failure(refused).code).toBe('codes_differ');
      expect(await answered(waiting)).toEqual({ status: 'denied', reason: 'the codes differ' });
    }
    expect(await mode.comparingClosed).toBe('wrong codes');
    const { first } = await (await legacyJoiner(fleet, 'web-09')).ask();
    expect(first).toEqual({ status: 'error', reason: 'pairing queue full' });
  });

  it('fill the queue', async () => {
    await asking('web-01', '192.0.2.1');
    await asking('web-02', '192.0.2.1');
    const third = await (await legacyJoiner(fleet, 'web-03', '192.0.2.1')).ask();
    expect(third.first).toEqual({ status: 'error', reason: 'pairing queue full' });
    for (const turn of [3, 4, 5, 6, 7, 8, 9, 10]) await asking(`web-0${turn}`, `192.0.2.${turn}`);
    const eleventh = await (await legacyJoiner(fleet, 'web-11', '192.0.2.11')).ask();
    expect(eleventh.first).toEqual({ status: 'error', reason: 'pairing queue full' });
    expect(await requests()).toHaveLength(10);
  });

  it('ask faster than the rate limit allows', async () => {
    await prepare({ allowV1: true }, 'pairing_rate_limit_volume = 3/60/300\n');
    const joiner = await legacyJoiner(fleet, 'web-01');
    const outcomes: unknown[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const asked = await joiner.ask();
      outcomes.push(asked.first['reason'] ?? asked.first['status']);
      for (const { id } of await requests()) value(await control.dispatcher.deny(id));
      await fleet.clock.advance(1);
    }
    expect(outcomes).toEqual(['pending', 'pending', 'pending', 'pairing queue full']);
  });

  it('send what is no request', async () => {
    const joiner = await legacyJoiner(fleet, 'web-01');
    for (const [other, reason] of [
      [{ csr: 'PEM' }, 'invalid request'],
      [{ csr: `${joiner.csr}${joiner.csr}` }, 'invalid request'],
      [{ nonce: 'short' }, 'invalid request'],
      [{ hostname: '../web' }, 'invalid hostname'],
      [{ padding: 'x'.repeat(65_536) }, 'request too large'],
    ] as const)
      expect(await joiner.ask(other), reason).toMatchObject({
        status: 200,
        first: { status: 'error', reason },
      });
    expect(await requests()).toEqual([]);
    // Large is what deployed agents do not send, but may.
    expect((await joiner.ask({ padding: 'x'.repeat(50_000) })).first).toEqual(pending);
  });

  it('ask in HTTP/1.1, where two answers would be one too many', async () => {
    const target = { host: dispatcherHost, port: mode.port, trust: 'any', key: 'x' } as const;
    const body = utf8(JSON.stringify({ csr: (await legacyJoiner(fleet, 'a')).csr }));
    const answer = await askOver(fleet.network.channel('192.0.2.50'), target, {
      path: '/pair',
      headers: [],
      body,
    });
    expect(JSON.parse(Buffer.from(value(answer).body).toString())).toEqual({
      status: 'error',
      reason: 'invalid request',
    });
  });
});

it('an approval that cannot be carried out is a denial, and the log says why', async () => {
  value(await mode.close());
  const full = errorOf('store_failed', 'disk full', { operation: 'pairing.issue', reason: 'ENOSPC' });
  const context = withPorts(control, {
    pairing: { ...control.context.pairing, issue: () => errAsync(full) },
  });
  value(await dispatcherOver(context).openPairing({ allowV1: true }));
  const waiting = await asking('web-01');
  value(await control.dispatcher.approve({ id: waiting.id }));
  expect(await answered(waiting)).toEqual({
    status: 'denied',
    reason: 'the dispatcher failed: see its log',
  });
  expect(control.events.events.at(-1)).toMatchObject({
    action: 'pairing-refused',
    level: 'error',
    fields: { reason: expect.stringContaining('disk full') },
  });
});
