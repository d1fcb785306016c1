import { describe, expect, it } from 'vitest';
import { value } from '../../../../contract/result.js';
import {
  ask,
  type Control,
  day,
  type Host,
  identityOf,
  lifecycle,
  paired,
  pingFails,
  presenceOf,
  secondDispatcher,
} from '../../../../support/fleet/lifecycle.js';

/** A list as a dispatcher makes it; `of` null: without its name, as former versions do. */
async function listOf(
  { context }: Control,
  { number, of = context.settings.dispatcherId }: { number: number; of?: string | null },
  ...serials: string[]
) {
  const thisUpdate = context.clock.now();
  const revoked = serials.map((serial) => ({ serial, revokedAt: thisUpdate }));
  const content = {
    dispatcherId: of ?? undefined,
    number,
    revoked,
    thisUpdate,
    nextUpdate: thisUpdate + day,
  };
  return value(await context.authority.revocationList(content)).pem;
}

const push = async (control: Control, crl_pem: string, as?: Awaited<ReturnType<typeof presenceOf>>) =>
  ask(control, as ?? (await identityOf(control)), 'a', '/v2/crl', { crl_pem });

const numberFor = async (control: Control) =>
  (await ask(control, await identityOf(control), 'a', '/ping', {})).json['crl_number'];

const stored = async (host: Host) =>
  value(await host.keyStore.read(['agent-revocation-lists']))['agent-revocation-lists'];

/** Whether the host refuses a certificate of its CA, although its serial is trusted there. */
async function refuses(control: Control, thief: Awaited<ReturnType<typeof presenceOf>>) {
  const { status, json } = await ask(control, thief, 'a', '/ping', {});
  return status === 403 && json['error'] === 'certificate revoked';
}

/** A host with two dispatchers, and somebody with a key of the first one. */
async function twoDispatchers() {
  const { control, fleet, host } = await lifecycle(['a']);
  const second = await secondDispatcher(fleet, control);
  await paired(second, host('a'));
  await host('a').restart();
  for (const each of [control, second]) expect(await pingFails(each, 'a')).toBeUndefined();
  const thief = await presenceOf(control, 'control');
  const { serial, pem } = thief.certificate;
  const asked = { serial, action: 'add', pem };
  const added = await ask(control, await identityOf(control), 'a', '/rotate-serial', asked);
  expect(added.json['status']).toBe('ok');
  return { control, second, host: host('a'), thief, serial };
}

describe('the number of a list', () => {
  it('of another dispatcher with a higher number, brought by a thief, keeps no later list away', async () => {
    const { control, second, thief, serial } = await twoDispatchers();
    expect(await push(control, await listOf(second, { number: 900 }, 'abc'), thief)).toMatchObject({
      status: 200,
      json: { number: 900 },
    });
    expect(await numberFor(control)).toBe(0);
    expect(await push(control, await listOf(control, { number: 1 }, serial))).toMatchObject({ status: 200 });
    expect(await refuses(control, thief)).toBe(true);
    expect(await numberFor(control)).toBe(1);
    expect(await numberFor(second)).toBe(900);
  });

  it('of one without a name, of another dispatcher, brought by a thief, keeps no later list away', async () => {
    const { control, second, thief, serial } = await twoDispatchers();
    const old = await listOf(second, { number: 900, of: null }, 'abc');
    expect(await push(control, old, thief)).toMatchObject({ status: 200 });
    expect(await push(control, await listOf(control, { number: 1, of: null }, serial))).toMatchObject({
      status: 200,
    });
    expect(await refuses(control, thief)).toBe(true);
    expect(await numberFor(control)).toBe(1);
  });

  it('that is not newer is answered with the list that is held, also to another dispatcher', async () => {
    const { control, second } = await twoDispatchers();
    const held = await listOf(control, { number: 7 }, 'abc');
    expect(await push(control, held)).toMatchObject({ status: 200 });
    expect(await push(second, held)).toMatchObject({ status: 200, json: { status: 'ok', number: 7 } });
    for (const [each, list] of [
      [control, await listOf(control, { number: 6 }, 'abc', 'abd')],
      [second, await listOf(control, { number: 8 }, 'abd')],
    ] as const)
      expect(await push(each, list)).toEqual({
        status: 409,
        json: { status: 'error', error: expect.any(String), crl_pem: held, number: 7 },
      });
  });
});

describe('what is on a list', () => {
  it('stays after a restored backup whose list has a higher number and lacks it', async () => {
    const { control, thief, serial, host } = await twoDispatchers();
    expect((await push(control, await listOf(control, { number: 3 }, serial, 'abc'))).status).toBe(200);
    expect((await push(control, await listOf(control, { number: 4 }, 'abc', 'abd'))).status).toBe(409);
    await host.restart();
    expect(await refuses(control, thief)).toBe(true);
  });

  it('stays when a list without a name follows that lacks it', async () => {
    const { control, thief, serial, host } = await twoDispatchers();
    expect((await push(control, await listOf(control, { number: 3, of: null }, serial))).status).toBe(200);
    expect((await push(control, await listOf(control, { number: 4, of: null }, 'abc'))).status).toBe(200);
    await host.restart();
    expect(await refuses(control, thief)).toBe(true);
    expect(await numberFor(control)).toBe(4);
  });

  it('stays where the version before has stored it, and is followed by a list with a name', async () => {
    const { control, thief, serial, host } = await twoDispatchers();
    const former = await listOf(control, { number: 5, of: null }, serial);
    value(await host.keyStore.replace({ 'agent-revocation-lists': `# dispatcher control\n${former}` }));
    await host.restart();
    expect(await refuses(control, thief)).toBe(true);
    expect(await numberFor(control)).toBe(5);
    expect((await push(control, await listOf(control, { number: 6 }, 'abc'))).status).toBe(200);
    expect(await refuses(control, thief)).toBe(true);
    const all = await listOf(control, { number: 7 }, 'abc', serial);
    expect((await push(control, all)).status).toBe(200);
    expect(await stored(host)).toBe(`# dispatcher control\n${all}`);
    await host.restart();
    expect(await refuses(control, thief)).toBe(true);
    expect(await numberFor(control)).toBe(7);
  });
});
