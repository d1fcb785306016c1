import { err, errAsync, ok } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { base64url, hex } from '../../../../src/domain/core/bytes.js';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import { formatJoinToken, parseJoinToken } from '../../../../src/domain/pairing/join-token.js';
import type { ChannelAnswer, ChannelError } from '../../../../src/ports/channel.js';
import type { KeyStore } from '../../../../src/ports/key-store.js';
import { createAgent } from '../../../../src/sdk/agent/agent.js';
import { failure, value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import {
  dispatcherHost,
  type MemoryFleet,
  pairingFleet,
  type TestAgent,
  type TestDispatcher,
} from '../../../support/fleet/memory-fleet.js';
import { tapped } from '../../../support/network/tapped-channel.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await pairingFleet());
});

const issue = async (host: string, ttl?: number) =>
  value(await control.dispatcher.issueJoinToken({ host, ...(ttl !== undefined && { ttl }) })).token;

const idOf = (token: string) => hex(value(parseJoinToken(token)).id);
const kept = async (token: string) => value(await control.context.joinTokens.find(idOf(token)));
const agents = async () => value(await control.dispatcher.agents());

/** What the pairing port answered, as the agent got it; `change` is what somebody in between makes of it. */
function listened(
  agent: TestAgent,
  change: (step: string, answer: ChannelAnswer) => ChannelAnswer | ChannelError = (_step, answer) => answer,
) {
  const heard: { step: string; status: number; body: Record<string, unknown> }[] = [];
  const listening = createAgent({
    ...agent.context,
    channel: tapped(agent.context.channel, (request, pass) =>
      pass(request).andThen((answer) => {
        const step = request.path.replace('/pair/v2/', '');
        const body = JSON.parse(new TextDecoder().decode(answer.body));
        heard.push({ step, status: answer.status, body });
        const changed = change(step, answer);
        return 'code' in changed ? err({ ...changed, sent: true }) : ok(changed);
      }),
    ),
  });
  return { heard, agent: listening };
}

const join = (agent: Pick<TestAgent, 'agent'>['agent'], token: string, timeout?: number) =>
  fleet.settle(
    agent.pair({
      dispatcher: dispatcherHost,
      trust: { kind: 'join', token },
      ...(timeout !== undefined && { timeout }),
    }),
  );

const nothingInstalled = async (agent: TestAgent) => {
  const items = ['agent-key', 'agent-certificate', 'ca-certificate', 'trusted-dispatchers'] as const;
  const found = value(await agent.context.keyStore(undefined as never).read(items));
  expect(Object.values(found)).toEqual([undefined, undefined, undefined, undefined]);
};

/** A pairing port that says no in its own words, and why, as only its log tells. */
const expectRefused = (
  outcome: Awaited<ReturnType<typeof join>>,
  expected: { status: number; reason: string; logged: string },
) => {
  const { status, reason, logged } = expected;
  expect(failure(outcome)).toMatchObject({ code: 'refused', status, reason });
  expect(eventsOf(control.events, 'pairing-refused').at(-1)?.fields.reason).toContain(logged);
};

describe('a join token that is taken back', () => {
  it('pairs nobody, from the first message on, and is told of once', async () => {
    const token = await issue('web-01');
    const { dispatcher } = control;
    expect(value(await dispatcher.withdrawJoinToken(token))).toBe(true);
    expectRefused(await join(fleet.agent('web-01').agent, token), {
      status: 403,
      reason: 'join_refused',
      logged: 'the token was taken back',
    });
    expect(await agents()).toEqual([]);
    const told = eventsOf(control.events, 'join-token-withdrawn');
    expect(told).toEqual([{ action: 'join-token-withdrawn', fields: { token: idOf(token) } }]);
    expect(value(await join(fleet.agent('web-01').agent, await issue('web-01')))).toBeDefined();
  });

  it('has to be one that nobody has used', async () => {
    const token = await issue('web-01');
    value(await join(fleet.agent('web-01').agent, token));
    expect(value(await control.dispatcher.withdrawJoinToken(token))).toBe(false);
    expect(eventsOf(control.events, 'join-token-withdrawn')).toEqual([]);
    expect(failure(await control.dispatcher.withdrawJoinToken('x'))).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/^token: expected a join token, its id, or/),
    });
  });
});

describe('issuing a join token', () => {
  it('gives a secret that is shown once: neither the store nor the log has it', async () => {
    const now = fleet.clock.now();
    const issued = value(await control.dispatcher.issueJoinToken({ host: 'WEB-01' }));
    expect(issued).toEqual({
      token: expect.stringMatching(/^cxj2\./),
      name: 'web-01',
      expiresAt: now + 900_000,
      registered: false,
    });
    const { id, secret } = value(parseJoinToken(issued.token));
    const record = await kept(issued.token);
    expect(record).toMatchObject({ name: 'web-01', boundTo: undefined, burntAt: undefined });
    expect(eventsOf(control.events, 'join-token-issued')).toEqual([
      { action: 'join-token-issued', fields: { host: 'web-01', token: hex(id), ttl: 900 } },
    ]);
    const written = JSON.stringify([record, control.events.events]);
    for (const text of [hex(secret), base64url(secret), issued.token]) expect(written).not.toContain(text);
    expect(JSON.stringify(control.events.events)).not.toContain(record?.key);
  });

  it('gives another one each time', async () => {
    expect(await issue('web-01')).not.toBe(await issue('web-01'));
  });

  it.each([0, -1, 1.5, Number.NaN, 31_536_001, Number.POSITIVE_INFINITY])(
    'for %d seconds is refused',
    async (ttl) => {
      const refused = await control.dispatcher.issueJoinToken({ host: 'web-01', ttl });
      expect(failure(refused)).toMatchObject({ code: 'invalid_argument', field: 'ttl' });
      expect(eventsOf(control.events, 'join-token-issued')).toEqual([]);
    },
  );

  it.each(['', 'a b', '-web', '../x', 'a'.repeat(300)])(
    'for %j, which is no name, is refused',
    async (host) => {
      const refused = await control.dispatcher.issueJoinToken({ host });
      expect(failure(refused)).toMatchObject({ code: 'invalid_argument', field: 'host' });
    },
  );

  it('forgets tokens that expired a day ago, and no others', async () => {
    const old = await issue('web-01', 1);
    await fleet.clock.advance(86_400_000);
    const recent = await issue('web-02', 1);
    expect(await kept(old)).toBeDefined();
    await fleet.clock.advance(1_001);
    await issue('web-03');
    expect(await kept(old)).toBeUndefined();
    expect(await kept(recent)).toBeDefined();
  });
});

describe('a host with a join token', () => {
  it('is paired without a person, and the token is used up', async () => {
    const token = await issue('web-01');
    const joining = fleet.agent('web-01');
    const paired = value(await join(joining.agent, token));
    expect(paired).toMatchObject({ name: 'web-01', dispatcherId: 'control' });
    expect(await agents()).toMatchObject([
      { name: 'web-01', pairing: 'v2', pins: [{ state: 'active', serial: paired.serial }] },
    ]);
    expect(value(await joining.agent.pairingStatus()).dispatchers).toEqual(['control']);
    expect(await kept(token)).toMatchObject({
      boundTo: expect.stringMatching(/^[0-9a-f]{64}$/),
      burntAt: expect.any(Number),
    });
    expect(eventsOf(control.events, 'pairing-approved')).toEqual([]);
    expect(eventsOf(control.events, 'agent-paired')).toHaveLength(1);
    expect(JSON.stringify([control.events.events, joining.events.events])).not.toContain(token.split('.')[2]);
  });

  it('and a text that is no token connects to nobody', async () => {
    const { heard, agent } = listened(fleet.agent('web-01'));
    expect(failure(await join(agent, 'cxj2.x.y'))).toMatchObject({
      code: 'invalid_argument',
      field: 'join',
    });
    expect(heard).toEqual([]);
  });

  it('without its secret is refused, and neither the nonce nor the proof is revealed', async () => {
    const token = await issue('web-01');
    const { id, secret } = value(parseJoinToken(token));
    const guessed = formatJoinToken({
      id,
      secret: secret.map((byte, index) => (index === 31 ? byte ^ 1 : byte)),
    });
    const joining = fleet.agent('web-01');
    const { heard, agent } = listened(joining);
    expectRefused(await join(agent, guessed), {
      status: 403,
      reason: 'join_refused',
      logged: 'the proof does not fit',
    });
    expect(heard.map(({ step }) => step)).toEqual(['start', 'nonce']);
    expect(heard.at(-1)?.body).toEqual({ status: 'error', error: 'join_refused' });
    expect(await kept(token)).toMatchObject({ boundTo: undefined, burntAt: undefined });
    expect(value(await control.dispatcher.pairingRequests())).toEqual([]);
    expect(await agents()).toEqual([]);
    await nothingInstalled(joining);

    expect((await join(fleet.agent('web-01').agent, token)).isOk()).toBe(true);
  });

  it.each([
    ['none', (body: Record<string, unknown>) => ({ ...body, mac: undefined }), 'none'],
    [
      'another one',
      (body: Record<string, unknown>) => ({ ...body, mac: base64url(new Uint8Array(32)) }),
      'another',
    ],
    ['its own', (body: Record<string, unknown>) => ({ ...body, mac: body['nonce'] }), 'another'],
  ])('does not confirm to a dispatcher whose proof is %s', async (_what, change, found) => {
    const token = await issue('web-01');
    const joining = fleet.agent('web-01');
    const { heard, agent } = listened(joining, (step, answer) =>
      step === 'nonce'
        ? {
            ...answer,
            body: new TextEncoder().encode(
              JSON.stringify(change(JSON.parse(new TextDecoder().decode(answer.body)))),
            ),
          }
        : answer,
    );
    const error = failure(await join(agent, token));
    expect(error).toMatchObject({ code: 'wrong_identity', found });
    expect(error.message).toContain('does not know this join token');
    expect(heard.map(({ step }) => step)).toEqual(['start', 'nonce']);
    expect(await agents()).toEqual([]);
    await nothingInstalled(joining);
  });

  it.each([
    ['of another host', 'web-02', 'the token is for web-02'],
    ['of a host whose name only begins so', 'web-01.example.org', 'the token is for web-01.example.org'],
  ])('%s is refused at the beginning', async (_what, host, logged) => {
    const token = await issue(host);
    const joining = fleet.agent('web-01');
    const { heard, agent } = listened(joining);
    expectRefused(await join(agent, token), { status: 403, reason: 'join_refused', logged });
    expect(heard).toEqual([{ step: 'start', status: 403, body: { status: 'error', error: 'join_refused' } }]);
    expect((await kept(token))?.boundTo).toBeUndefined();
    await nothingInstalled(joining);
  });

  it('that nobody issued is refused in the same words', async () => {
    const token = formatJoinToken({ id: new Uint8Array(8), secret: new Uint8Array(32) });
    const { heard, agent } = listened(fleet.agent('web-01'));
    expectRefused(await join(agent, token), { status: 403, reason: 'join_refused', logged: 'unknown token' });
    expect(heard).toEqual([{ step: 'start', status: 403, body: { status: 'error', error: 'join_refused' } }]);
  });

  it('can begin until the moment at which it expires', async () => {
    const [early, late] = [await issue('web-01', 60), await issue('web-02', 60)];
    const joining = fleet.agent('web-02');
    const now = (agent: TestAgent, token: string) =>
      fleet.settle(agent.agent.pair({ dispatcher: dispatcherHost, trust: { kind: 'join', token } }), 0);
    await fleet.clock.advance(59_999);
    expect((await now(fleet.agent('web-01'), early)).isOk()).toBe(true);
    await fleet.clock.advance(1);
    expectRefused(await now(joining, late), {
      status: 403,
      reason: 'join_refused',
      logged: 'the token has expired',
    });
    await nothingInstalled(joining);
  });

  it('uses it once', async () => {
    const token = await issue('web-01');
    value(await join(fleet.agent('web-01').agent, token));
    const before = await agents();
    const second = fleet.agent('web-01');
    expectRefused(await join(second.agent, token), {
      status: 403,
      reason: 'join_refused',
      logged: 'the token was used already',
    });
    expect(await agents()).toEqual(before);
    await nothingInstalled(second);
  });

  it('whose name is in use needs a person, and the token stays as it was', async () => {
    value(await join(fleet.agent('web-01').agent, await issue('web-01')));
    const before = await agents();
    const token = await issue('web-01');
    const second = fleet.agent('web-01');
    expectRefused(await join(second.agent, token), {
      status: 409,
      reason: 'name_registered',
      logged: 'web-01 is registered already',
    });
    expect(await agents()).toEqual(before);
    expect((await kept(token))?.boundTo).toBeUndefined();
    await nothingInstalled(second);
  });

  it('may begin anew, with a further token, after its certificate could not be installed', async () => {
    failure(await join(failing(), await issue('web-01')));
    expect(await agents()).toMatchObject([{ pins: [{ state: 'issued' }] }]);
    const paired = value(await join(fleet.agent('web-01').agent, await issue('web-01')));
    expect(await agents()).toMatchObject([{ pins: [{ state: 'active', serial: paired.serial }] }]);
  });
});

const diskFull = errorOf('file_failed', 'disk full', { path: '/', operation: 'write', reason: 'ENOSPC' });

/** An agent that gets a certificate and cannot install it: its token is bound, and not used up. */
const failing = () => {
  const broken: Partial<KeyStore> = { replace: () => errAsync(diskFull) };
  return fleet.agent('web-01', '', broken).agent;
};

describe('a join token that is bound', () => {
  it('is refused for another key, and that is an alarm', async () => {
    const token = await issue('web-01');
    expect(failure(await join(failing(), token)).code).toBe('file_failed');
    const before = await kept(token);
    const thief = fleet.agent('web-01');
    const { heard, agent } = listened(thief);
    expectRefused(await join(agent, token), {
      status: 403,
      reason: 'join_refused',
      logged: 'bound to another request',
    });
    expect(eventsOf(control.events, 'join-token-misused')).toEqual([
      {
        action: 'join-token-misused',
        level: 'error',
        fields: { host: 'web-01', token: idOf(token), ip: '192.0.2.77' },
      },
    ]);
    expect(heard.at(-1)?.body).toEqual({ status: 'error', error: 'join_refused' });
    expect(await kept(token)).toEqual(before);
    expect((await agents()).flatMap(({ pins }) => pins)).toHaveLength(1);
    await nothingInstalled(thief);
  });

  it('is used up by the first contact where the agent could not report', async () => {
    const token = await issue('web-01');
    const joining = fleet.agent('web-01');
    const cut = errorOf('connection_failed', 'closed', { host: dispatcherHost, reason: 'closed' });
    const silent = createAgent({
      ...joining.context,
      channel: tapped(joining.context.channel, (request, pass) =>
        request.path.endsWith('/installed') ? errAsync({ ...cut, sent: true }) : pass(request),
      ),
    });
    value(await join(silent, token));
    expect(eventsOf(joining.events, 'pairing-report-failed')).toHaveLength(3);
    expect(await agents()).toMatchObject([{ pins: [{ state: 'issued' }] }]);
    expect((await kept(token))?.burntAt).toBeUndefined();

    value(await joining.agent.serve());
    await fleet.clock.advance(1_000);
    const { results } = value(await control.dispatcher.ping({ hosts: ['web-01'] }));
    expect(results).toMatchObject([{ status: 'ok' }]);
    expect(await agents()).toMatchObject([{ pins: [{ state: 'active' }] }]);
    expect((await kept(token))?.burntAt).toBe(fleet.clock.now());
    expectRefused(await join(fleet.agent('web-01').agent, token), {
      status: 403,
      reason: 'join_refused',
      logged: 'the token was used already',
    });
  });
});

describe('a proof of a token', () => {
  it('in a request that was begun without one is refused', async () => {
    const joining = fleet.agent('web-01');
    const eager = createAgent({
      ...joining.context,
      channel: tapped(joining.context.channel, (request, pass) => {
        if (!request.path.endsWith('/nonce')) return pass(request);
        const body = JSON.parse(new TextDecoder().decode(request.body));
        const mac = base64url(new Uint8Array(32));
        return pass({ ...request, body: new TextEncoder().encode(JSON.stringify({ ...body, mac })) });
      }),
    });
    const outcome = await fleet.settle(
      eager.pair({ dispatcher: dispatcherHost, trust: { kind: 'compare', confirm: async () => true } }),
    );
    expectRefused(outcome, { status: 400, reason: 'invalid', logged: 'a join proof without a token' });
    expect(value(await control.dispatcher.pairingRequests())).toEqual([]);
  });
});
