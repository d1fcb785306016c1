import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentOnDisk, requestPairing, shared } from '../../support/commands/commands.js';
import {
  ask,
  caOf,
  dispatcherIdentity,
  expectNothingInstalled,
  identityOf,
  inPairingMode,
  type PairingDispatcher,
} from '../../support/pairing/pairing.js';
import { bytesOf, openPeer, type PairingPeer, type Post } from '../../support/pairing/peer.js';
import { impostor, pairingServer, type Serve, strangeCa } from '../../support/pairing/server.js';

const identity = shared(dispatcherIdentity);

/** Passes a message on, as it came. */
const relayTo =
  (post: Post): Serve =>
  async (step, message) => {
    const { status, body } = await post(step, JSON.stringify(message));
    return { status, body };
  };

/** Between the two: its own TLS certificate, everything else as both sides say it. */
const plainRelay = async (post: Post) =>
  pairingServer(
    await (await strangeCa()).credentials({ kind: 'pairing', dispatcherId: 'control' }),
    relayTo(post),
  );

/**
 * Between the two, with certificates and a commitment of its own towards the agent; session, CSR, and what the agent
 * confirms are passed on to the dispatcher, to get the agent's own key approved there.
 */
async function forgingRelay(post: Post) {
  const statuses: number[] = [];
  const forged = await impostor({
    dispatcherId: 'control',
    onStart: async (message) => {
      const answer = await post('start', JSON.stringify(message));
      return bytesOf(answer.body, 'session');
    },
    onNonce: async (message) => {
      await post('nonce', JSON.stringify(message));
    },
    onConfirm: async (message) => {
      const { status, body } = await post('confirm', JSON.stringify(message));
      statuses.push(status);
      return { status, body };
    },
  });
  return { ...forged, statuses };
}

/** Between the two, as a dispatcher towards the agent and as an agent towards the dispatcher, each to the end. */
async function doubleAgent(post: Post, host: string) {
  let peer: PairingPeer | undefined;
  const forged = await impostor({
    dispatcherId: 'control',
    onStart: async () => {
      peer = await openPeer(post, host);
      return new Uint8Array(randomBytes(16));
    },
  });
  return {
    ...forged,
    /** Its own side towards the dispatcher. */
    peer: () => {
      if (!peer) throw new Error('the agent has not begun');
      return peer;
    },
  };
}

const onlyRequest = async (control: PairingDispatcher) => {
  const [waiting, ...others] = await control.requests();
  expect(others).toEqual([]);
  if (!waiting) throw new Error('no request is waiting');
  return waiting;
};

describe('a man in the middle', () => {
  it('who passes every message on is found out by the agent before there is a code', async () => {
    const { control, post } = await inPairingMode(identity());
    const { port, steps } = await plainRelay(post);
    const agent = await agentOnDisk('web-01');
    const ended = await requestPairing(agent, port, [], { input: 'y\n' }).ended;
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toContain('somebody may be between the two hosts');
    expect(steps).toEqual(['start', 'nonce']);
    // Even an operator who approves whatever comes has paired nobody.
    const { id } = await onlyRequest(control);
    expect((await control.command('approve', id)).code).toBe(0);
    expectNothingInstalled(agent);
    expect(await control.agents()).toEqual([]);
  });

  it('gets no certificate for the agent with what the agent confirmed to him, although both sides said yes', async () => {
    const { control, post } = await inPairingMode(identity());
    const relay = await forgingRelay(post);
    const { port } = await relay.server();
    const asking = await ask('web-01', port);
    expect((await control.command('approve', asking.id)).code).toBe(0);
    asking.answer('y');
    const ended = await asking.ended;
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining('refused: invalid') });
    expect(relay.statuses).toEqual([400]);
    expectNothingInstalled(asking.agent);
    expect(await control.agents()).toEqual([]);
  });

  it('who completes the ceremony with each side by himself makes the codes differ, and gets nothing from either', async () => {
    const { control, post } = await inPairingMode(identity());
    const between = await doubleAgent(post, 'web-01');
    const { port } = await between.server();
    const asking = await ask('web-01', port);
    const waiting = await onlyRequest(control);
    expect(waiting.code).toBe(between.peer().code());
    expect(asking.code).not.toBe(waiting.code);
    const refused = await control.command('approve', waiting.id, '--code', asking.code);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('the codes differ') });
    asking.answer('n');
    expect((await asking.ended).code).toBe(1);
    expect(await between.peer().confirm()).toMatchObject({ status: 403, body: { status: 'denied' } });
    expect((await between.peer().installed()).status).toBe(400);
    expectNothingInstalled(asking.agent);
    expect(await control.agents()).toEqual([]);
  });

  it('who does so succeeds where nobody compares: the tests above do not pass for want of an attack', async () => {
    const { control, post } = await inPairingMode(identity());
    const between = await doubleAgent(post, 'web-01');
    const { port } = await between.server();
    const asking = await ask('web-01', port);
    expect((await control.command('approve', (await onlyRequest(control)).id)).code).toBe(0);
    asking.answer('y');
    expect((await asking.ended).code).toBe(0);
    expect(identityOf(asking.agent)[2]).toBe(between.ca.certificate.pem);
    expect((await between.peer().confirm()).status).toBe(200);
    expect((await between.peer().installed()).status).toBe(200);
    expect(await control.agents()).toMatchObject([{ name: 'web-01', keys: [{ state: 'active' }] }]);
  });

  it('who sends the certificates of the dispatcher with a commitment of his own is refused by --ca-sha256 before the nonces', async () => {
    const { control } = await inPairingMode(identity());
    const dispatcherPem = readFileSync(join(control.home, 'ctrl-exec.crt'), 'utf8');
    const forged = await impostor({ dispatcherId: 'control', caPem: caOf(control), dispatcherPem });
    const { port, steps } = await forged.server();
    const fingerprint = (await control.command('ca-fingerprint')).stdout.trim();
    const agent = await agentOnDisk('web-01');
    const ended = await requestPairing(agent, port, ['--ca-sha256', fingerprint], { input: 'y\n' }).ended;
    expect(ended).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('this is not the expected dispatcher'),
    });
    expect(steps).toEqual(['start']);
    expectNothingInstalled(agent);
    expect(await control.agents()).toEqual([]);
  });

  it('whose TLS key is another one from the message `nonce` on does not get to read it', async () => {
    const dispatcherId = 'control';
    const fake = await impostor({ dispatcherId });
    const other = await fake.ca.credentials({ kind: 'pairing', dispatcherId });
    const server = await pairingServer(fake.credentials, async (step, message) => {
      const answer = await fake.serve(step, message);
      server.present(other);
      return answer;
    });
    const agent = await agentOnDisk('web-01');
    const ended = await requestPairing(agent, server.port, [], { input: 'y\n' }).ended;
    expect(ended).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('answers with another key than before'),
    });
    expect(server.steps).toEqual(['start']);
    expectNothingInstalled(agent);
  });
});
