import { okAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import { parseJsonObject } from '../../../../src/domain/core/json.js';
import { writePairingMessage } from '../../../../src/domain/pairing/messages.js';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import type { Channel, Credentials } from '../../../../src/ports/channel.js';
import type { ListenOptions } from '../../../../src/ports/listener.js';
import { createAgent } from '../../../../src/sdk/agent/agent.js';
import type { PairingCode } from '../../../../src/sdk/agent/pairing/options.js';
import type { PairingMode } from '../../../../src/sdk/dispatcher/pairing/pairing-mode.js';
import { failure, value } from '../../../contract/result.js';
import { dispatcherOver, withPorts } from '../../../support/fleet/memory-agents.js';
import {
  crypto,
  dispatcherHost,
  type MemoryFleet,
  pairingFleet,
  pairingPort,
  type TestAgent,
  type TestDispatcher,
} from '../../../support/fleet/memory-fleet.js';
import { askOver } from '../../../support/network/network.js';
import { tapped } from '../../../support/network/tapped-channel.js';
import { bytesOf, openPeer, type Post, pairingPeer } from '../../../support/pairing/peer.js';
import { impostor, type Serve, strangeCa } from '../../../support/pairing/server.js';

/** Where agents look for the dispatcher and find somebody else. */
const betweenHost = 'between.test';

let fleet: MemoryFleet;
let control: TestDispatcher;
let mode: PairingMode;
let joining: TestAgent;

beforeEach(async () => {
  ({ fleet, control, mode, joining } = await pairingFleet('pairing_rate_limit_volume = 1000/60/300\n'));
});

const json = (body: Uint8Array) => value(parseJsonObject(body));

/** To the pairing port of the true dispatcher, each message on a connection of its own. */
const post: Post = async (step, body) => {
  const target = { host: dispatcherHost, port: pairingPort, trust: 'any', key: 'pairing' } as const;
  const asked = { path: `/pair/v2/${step}`, headers: [], body: utf8(body), maxAnswer: 100_000 };
  const answer = value(await askOver(fleet.network.channel('198.51.100.66'), target, asked));
  return { status: answer.status, body: json(answer.body), tlsSpki: answer.peer.spki.slice() };
};

/** Somebody whom the agent takes for the dispatcher; `paths`: what it was asked. */
async function between(credentials: Credentials, serve: Serve) {
  const paths: string[] = [];
  const listening = value(
    await fleet.network.listener(betweenHost).listen({
      bind: '',
      port: pairingPort,
      maxBody: 65_536,
      maxConnections: 9,
      credentials,
      handle: async ({ path, body }) => {
        paths.push(path);
        const message = json(value(await body()));
        const answer = await serve(path.split('/').at(-1) ?? '', message);
        if (answer === 'drop') throw new Error('not in memory');
        return {
          ...jsonAnswer(answer.status, {}),
          body: utf8(JSON.stringify(writePairingMessage(answer.body))),
        };
      },
    }),
  );
  return { paths, renew: (other: Credentials) => listening.renew(other) };
}

/** Passes every message on, under a TLS key of his own. */
async function plainRelay() {
  const credentials = await (await strangeCa()).credentials({ kind: 'pairing', dispatcherId: 'control' });
  return between(credentials, async (step, message) => post(step, JSON.stringify(message)));
}

/**
 * Has certificates and a commitment of his own towards the agent; its session, CSR and nonces, and what it confirms, are passed
 * on to the dispatcher, to get its own key approved there.
 */
async function forgingRelay() {
  const statuses: number[] = [];
  const forged = await impostor({
    dispatcherId: 'control',
    onStart: async (message) => bytesOf((await post('start', JSON.stringify(message))).body, 'session'),
    onNonce: async (message) => {
      await post('nonce', JSON.stringify(message));
    },
    onConfirm: async (message) => {
      const { status, body } = await post('confirm', JSON.stringify(message));
      statuses.push(status);
      return { status, body };
    },
  });
  return { ...forged, ...(await between(forged.credentials, forged.serve)), statuses };
}

/** Is a dispatcher towards the agent, and an agent towards the dispatcher. */
async function doubleAgent() {
  const forged = await impostor({
    dispatcherId: 'control',
    onStart: async () => {
      await openPeer(post, 'web-01');
      return new Uint8Array(16).fill(7);
    },
  });
  return between(forged.credentials, forged.serve);
}

const steps = (...names: readonly string[]) => names.map((name) => `/pair/v2/${name}`);

/** Two people who approve of whatever they are shown. */
function careless(agent: Pick<TestAgent, 'agent'>['agent'], host = betweenHost) {
  const shown: PairingCode[] = [];
  const pairing = fleet.settle(
    agent.pair({
      dispatcher: host,
      timeout: 30,
      trust: {
        kind: 'compare',
        confirm: async (code) => {
          shown.push(code);
          for (const { id } of value(await control.dispatcher.pairingRequests()))
            await control.dispatcher.approve({ id });
          return true;
        },
      },
    }),
  );
  return { shown, pairing };
}

/** Every message of the agent on a connection of its own, as after a loss. */
const afresh = (): Channel => ({
  ...joining.context.channel,
  connect: (target, options) => fleet.network.channel('192.0.2.77').connect(target, options),
});

const agents = async () => value(await control.dispatcher.agents());

async function nobodyPaired() {
  const items = ['agent-key', 'agent-certificate', 'ca-certificate', 'trusted-dispatchers'] as const;
  const found = value(await joining.context.keyStore(undefined as never).read(items));
  expect(Object.values(found)).toEqual([undefined, undefined, undefined, undefined]);
  expect(await agents()).toEqual([]);
}

/** The agent over a channel that somebody inside TLS has his hands on: he has the key of the pairing port. */
function tampered(change: {
  readonly request?: (step: string, message: Record<string, unknown>) => Record<string, unknown>;
  readonly answer?: (step: string, message: Record<string, unknown>) => Record<string, unknown>;
}) {
  const asked: string[] = [];
  const altered = (alter: typeof change.request, step: string, body: Uint8Array): Uint8Array =>
    alter ? utf8(JSON.stringify(alter(step, { ...json(body) }))) : body;
  const channel = tapped(joining.context.channel, (request, pass) => {
    const step = request.path.replace('/pair/v2/', '');
    asked.push(step);
    return pass({ ...request, body: altered(change.request, step, request.body) }).map((answer) => ({
      ...answer,
      body: altered(change.answer, step, answer.body),
    }));
  });
  return { asked, agent: createAgent({ ...joining.context, channel }) };
}

describe('a man in the middle at pairing', () => {
  it('who passes every message on, under a TLS key of his own, is found out before there is a code', async () => {
    const { paths } = await plainRelay();
    const { shown, pairing } = careless(joining.agent);
    expect(failure(await pairing).code).toBe('wrong_identity');
    expect(shown).toEqual([]);
    expect(paths).toEqual(steps('start', 'nonce'));
    await nobodyPaired();
  });

  it('who has the TLS key, and adds a dispatcher of his own to those of the dispatcher, is found out', async () => {
    const strange = await strangeCa();
    const mallory = await strange.credentials({ kind: 'dispatcher', dispatcherId: 'control' });
    const { agent, asked } = tampered({
      answer: (step, message) =>
        step === 'start'
          ? {
              ...message,
              ca_pem: [...(message['ca_pem'] as string[]), strange.certificate.pem],
              dispatcher_pem: [...(message['dispatcher_pem'] as string[]), mallory.certificate],
            }
          : message,
    });
    const { shown, pairing } = careless(agent, dispatcherHost);
    expect(failure(await pairing).code).toBe('wrong_identity');
    expect({ shown, asked }).toEqual({ shown: [], asked: ['start', 'nonce'] });
    await nobodyPaired();
  });

  it('who has the TLS key, and has a CA of his own accepted beside the true one, is found out', async () => {
    const strange = await strangeCa();
    const { agent, asked } = tampered({
      answer: (step, message) =>
        step === 'start'
          ? { ...message, ca_pem: [...(message['ca_pem'] as string[]), strange.certificate.pem] }
          : message,
    });
    const { shown, pairing } = careless(agent, dispatcherHost);
    expect(failure(await pairing).code).toBe('wrong_identity');
    expect({ shown, asked }).toEqual({ shown: [], asked: ['start', 'nonce'] });
    await nobodyPaired();
  });

  it('whose TLS key is another one from the nonces on does not get to read them', async () => {
    const fake = await impostor({ dispatcherId: 'control' });
    const other = await fake.ca.credentials({ kind: 'pairing', dispatcherId: 'control' });
    const port = await between(fake.credentials, async (step, message) => {
      const answer = await fake.serve(step, message);
      port.renew(other);
      return answer;
    });
    const agent = createAgent({ ...joining.context, channel: afresh() });
    const { shown, pairing } = careless(agent);
    const error = failure(await pairing);
    expect(error.message).toContain('answers with another key than before');
    expect(shown).toEqual([]);
    expect(port.paths).toEqual(steps('start'));
    await nobodyPaired();
  });

  it('whose TLS key is another one from the confirmation on does not get to read that', async () => {
    const fake = await impostor({ dispatcherId: 'control' });
    const other = await fake.ca.credentials({ kind: 'pairing', dispatcherId: 'control' });
    const port = await between(fake.credentials, async (step, message) => {
      const answer = await fake.serve(step, message);
      if (step === 'nonce') port.renew(other);
      return answer;
    });
    const agent = createAgent({ ...joining.context, channel: afresh() });
    const { shown, pairing } = careless(agent);
    expect(failure(await pairing).message).toContain('answers with another key than before');
    expect(shown).toHaveLength(1);
    expect(port.paths).toEqual(steps('start', 'nonce'));
    await nobodyPaired();
  });

  it('gets no certificate for the agent with what the agent confirmed to him, although both sides said yes', async () => {
    const relay = await forgingRelay();
    const { shown, pairing } = careless(joining.agent);
    expect((await pairing).isErr()).toBe(true);
    expect(shown.map(({ code }) => code)).toEqual([relay.code()]);
    expect(relay.statuses).toEqual([400]);
    await nobodyPaired();
  });

  it('who completes the ceremony with each side makes the codes differ', async () => {
    const forged = await impostor({ dispatcherId: 'control' });
    await between(forged.credentials, forged.serve);
    const peer = await openPeer(post, 'web-01');
    const codes: string[][] = [];
    const pairing = fleet.settle(
      joining.agent.pair({
        dispatcher: betweenHost,
        trust: {
          kind: 'compare',
          confirm: async ({ code }) => {
            codes.push([code, forged.code()]);
            return (await control.dispatcher.approve({ id: peer.id(), code })).isOk();
          },
        },
      }),
    );
    expect(failure(await pairing).code).toBe('codes_differ');
    const [[shown, his] = []] = codes;
    expect(shown).toBe(his);
    expect(shown).not.toBe(peer.code());
    expect((await peer.confirm()).status).toBe(403);
    await nobodyPaired();
  });

  it('who sends certificates of his own makes the codes differ, and a no of the agent leaves nothing to be approved', async () => {
    const relay = await forgingRelay();
    const waiting = async () => value(await control.dispatcher.pairingRequests());
    const codes: (string | undefined)[][] = [];
    const pairing = fleet.settle(
      joining.agent.pair({
        dispatcher: betweenHost,
        trust: {
          kind: 'compare',
          confirm: async ({ code, request }) => {
            const [listed] = await waiting();
            expect(listed?.id).toBe(request);
            codes.push([request, code, relay.code(), listed?.code]);
            return false;
          },
        },
      }),
    );
    expect(failure(await pairing).code).toBe('codes_differ');
    const [[request, shown, his, listed] = []] = codes;
    expect(shown).toBe(his);
    expect(listed).toMatch(/^\d{6}$/);
    expect(listed).not.toBe(shown);
    // The second nonce of the agent is how it says no.
    expect(relay.paths).toEqual(steps('start', 'nonce', 'nonce'));
    expect(await waiting()).toEqual([]);
    const late = await control.dispatcher.approve({ id: String(request) });
    expect(failure(late).code).toBe('pairing_unknown');
    await nobodyPaired();
  });

  it('who sends certificates of his own is refused with the code that the agent shows', async () => {
    await forgingRelay();
    const refused: string[] = [];
    const pairing = fleet.settle(
      joining.agent.pair({
        dispatcher: betweenHost,
        timeout: 30,
        trust: {
          kind: 'compare',
          confirm: async ({ code, request }) => {
            refused.push(failure(await control.dispatcher.approve({ id: request, code })).code);
            return false;
          },
        },
      }),
    );
    expect((await pairing).isErr()).toBe(true);
    expect(refused).toEqual(['codes_differ']);
    await nobodyPaired();
  });

  it.each([
    ['passes every message on', plainRelay],
    ['sends certificates of his own', forgingRelay],
    ['completes the ceremony', doubleAgent],
  ])('who %s is refused before the nonces where the CA is known by its fingerprint', async (_what, relay) => {
    const { paths } = await relay();
    const { fingerprint } = value(await control.dispatcher.ca());
    const shown: PairingCode[] = [];
    const pairing = joining.agent.pair({
      dispatcher: betweenHost,
      timeout: 30,
      trust: { kind: 'ca-sha256', fingerprint },
      onCode: (code) => shown.push(code),
    });
    const error = failure(await fleet.settle(pairing));
    expect(error.message).toContain('this is not the expected dispatcher');
    expect({ shown, paths }).toEqual({ shown: [], paths: steps('start') });
    await nobodyPaired();
  });

  it('who shows the certificates of the dispatcher is none to an agent that knows the fingerprint of the CA', async () => {
    const documents = value(
      await control.context.keyStore.read(['ca-certificate', 'dispatcher-certificate']),
    );
    const forged = await impostor({
      dispatcherId: 'control',
      caPem: documents['ca-certificate'] ?? '',
      dispatcherPem: documents['dispatcher-certificate'] ?? '',
    });
    const { paths } = await between(forged.credentials, forged.serve);
    const { fingerprint } = value(await control.dispatcher.ca());
    const trust = { kind: 'ca-sha256', fingerprint } as const;
    const pairing = joining.agent.pair({ dispatcher: betweenHost, timeout: 30, trust });
    const error = failure(await fleet.settle(pairing));
    expect(error.message).toContain('the certificate of its pairing port is not of that CA');
    expect(paths).toEqual(steps('start'));
    await nobodyPaired();
  });
});

describe('code grinding', () => {
  it('towards the agent: who chooses his nonce when he has seen its own is found out before there is a code', async () => {
    const forged = await impostor({ dispatcherId: 'control', breaksCommitment: true });
    const { paths } = await between(forged.credentials, forged.serve);
    const { shown, pairing } = careless(joining.agent);
    const error = failure(await pairing);
    expect(error.message).toContain('does not keep to what it committed to');
    expect(shown).toEqual([]);
    expect(paths).toEqual(steps('start', 'nonce'));
    await nobodyPaired();
  });

  it('towards the dispatcher: a second nonce is not answered, and ends the session', async () => {
    const peer = await openPeer(post, 'web-01');
    const again = await peer.nonce({ nonce: new Uint8Array(32) });
    expect(again).toMatchObject({ status: 400, body: { status: 'error', error: 'invalid' } });
    expect((await control.dispatcher.approve({ id: peer.id() })).isErr()).toBe(true);
    expect((await peer.confirm()).status).toBe(403);
    await nobodyPaired();
  });

  it('by trying: three wrong codes close what people compare', async () => {
    for (const host of ['a', 'b', 'c']) {
      const peer = await openPeer(post, host);
      const code = peer.code() === '000000' ? '000001' : '000000';
      expect(failure(await control.dispatcher.approve({ id: peer.id(), code })).code).toBe('codes_differ');
    }
    expect((await (await pairingPeer(post, 'd')).start()).status).toBe(429);
    expect(await mode.comparingClosed).toBe('wrong codes');
    const closed = control.events.events.filter(({ action }) => action === 'pairing-codes-closed');
    expect(closed).toHaveLength(1);
  });
});

describe('a downgrade at pairing', () => {
  it.each<[string, Serve]>([
    ['in version 1', async () => ({ status: 201, body: { v: 1 } })],
    ['that there is no version 2', async () => ({ status: 404, body: { error: 'not_found' } })],
  ])('an agent that is answered %s gives up, and asks nothing else', async (_what, serve) => {
    const credentials = await (await strangeCa()).credentials({ kind: 'pairing', dispatcherId: 'control' });
    const { paths } = await between(credentials, serve);
    const { shown, pairing } = careless(joining.agent);
    expect(failure(await pairing).code).toMatch(/^(protocol_violation|refused)$/);
    expect({ shown, paths }).toEqual({ shown: [], paths: steps('start') });
    await nobodyPaired();
  });

  it('messages of another version are not understood, whatever else they say', async () => {
    const forged = await impostor({ dispatcherId: 'control' });
    const { paths } = await between(forged.credentials, async (step, message) => {
      const answer = await forged.serve(step, message);
      return answer === 'drop' ? answer : { ...answer, body: { ...answer.body, v: 1 } };
    });
    const { shown, pairing } = careless(joining.agent);
    expect(failure(await pairing).code).toBe('protocol_violation');
    expect({ shown, paths }).toEqual({ shown: [], paths: steps('start') });
    expect((await (await pairingPeer(post, 'web-01')).start({ v: 1 })).status).toBe(400);
    await nobodyPaired();
  });

  it('who has the TLS key, and has the agent offer another version than it does, is found out', async () => {
    const { agent, asked } = tampered({
      request: (step, message) => (step === 'start' ? { ...message, offer: [1, 2] } : message),
    });
    const { shown, pairing } = careless(agent, dispatcherHost);
    expect(failure(await pairing).code).toBe('wrong_identity');
    expect({ shown, asked }).toEqual({ shown: [], asked: ['start', 'nonce'] });
    await nobodyPaired();
  });

  it('the pairing port speaks with nobody over TLS 1.2', async () => {
    value(await mode.close());
    let heard: ListenOptions | undefined;
    const { listener } = control.context;
    const context = withPorts(control, {
      listener: {
        listen: (options) => {
          heard = options;
          return listener.listen(options);
        },
      },
    });
    value(await dispatcherOver(context).openPairing());
    const presented = value(crypto.readCertificate(heard?.credentials.certificate ?? ''));
    const over =
      (tlsVersion: string): Post =>
      async (step, body) => {
        const answer = await heard?.handle({
          method: 'POST',
          path: `/pair/v2/${step}`,
          query: '',
          headers: [],
          httpVersion: '1.1',
          peer: { address: '198.51.100.66', certificate: undefined, presented, tlsVersion },
          body: () => okAsync(utf8(body)),
        });
        if (!answer) throw new Error('nothing listens');
        return { status: answer.status, body: json(answer.body), tlsSpki: presented.spki };
      };
    expect((await (await pairingPeer(over('TLSv1.2'), 'web-01')).start()).status).toBe(400);
    expect((await (await pairingPeer(over('TLSv1.3'), 'web-01')).start()).status).toBe(201);
  });
});

it('an agent that asks to pair gets a certificate in the name that was approved, whatever its CSR says', async () => {
  const peer = await pairingPeer(post, 'db-01');
  expect((await peer.start({ host: 'web-01' })).status).toBe(201);
  await peer.nonce();
  value(await control.dispatcher.approve({ id: peer.id(), code: peer.code() }));
  const { status, body } = await peer.confirm();
  expect({ status, name: body['name'] }).toEqual({ status: 200, name: 'web-01' });
  const certificate = value(crypto.readCertificate(String(body['cert_pem'])));
  expect(certificate).toMatchObject({
    commonName: 'web-01',
    dnsNames: ['web-01'],
    uris: ['ctrl-exec:agent:web-01'],
  });
});
