import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { atEnd, temporaryDirectory } from '../../../support/commands/commands.js';
import { requestLegacyPairing } from '../../../support/legacy/pairing-client.js';
import { startLegacyPairing } from '../../../support/legacy/pairing-server.js';
import { capture } from '../../../support/network/raw-tls.js';
import { answered, here, legacyInstallation, parts } from './shared-installation.js';

const { installation, agentOf, peers, send } = legacyInstallation();
const captured = (name: string) => capture(name).toString('latin1');

describe('a simulated agent says what the real one said', () => {
  it('in answer to a run: the same header, the same members', async () => {
    const said = captured('agent-run-answer.http');
    const agent = await agentOf('0.8', {
      scripts: new Map([['echo', { exit: 0, stdout: 'hello q\n' }]]),
    });
    const request = captured('dispatcher-run.http').replace('00b1a684576c534a', '0011223344556677');
    const answer = await send(agent.port, request);
    expect(parts(answer).head).toBe(parts(said).head);
    expect(answered(answer)).toEqual(answered(said));
    expect(agent.exchanges[0]?.bytes.toString('latin1')).toBe(request);
  });

  it('in answer to a ping: a header of the same form', async () => {
    const agent = await agentOf('0.8');
    const answer = await send(agent.port, capture('dispatcher-ping.http'));
    const { head, body } = parts(answer);
    const form = parts(captured('agent-run-answer.http')).head;
    expect(head).toBe(form.replace(/Length: \d+/, `Length: ${body.length}`));
    expect(JSON.parse(body)).toEqual({
      status: 'ok',
      host: 'vm',
      version: '0.8.4',
      expiry: new X509Certificate(installation().agent.certificate).validTo,
      reqid: '2f6c3e5359bdd157',
    });
  });

  it('in answer to a body that is no JSON: the same bytes', async () => {
    const agent = await agentOf('0.8');
    const request = captured('dispatcher-ping.http').replace('/ping', '/run').replace('{"', '["');
    expect(await send(agent.port, request)).toBe(captured('agent-refusal.http'));
  });
});

describe('a simulated dispatcher sends what the real one sent', () => {
  it('to run a script', async () => {
    const { agent, dispatcher } = await peers('0.8');
    const request = { script: 'echo', args: ['a b', 'é'], reqid: '00b1a684576c534a' };
    await dispatcher.run(here, agent.port, request);
    const sent = agent.exchanges[0]?.bytes.toString('latin1').replace(`:${agent.port}`, ':17443');
    expect(sent).toBe(captured('dispatcher-run.http'));
  });

  it('to ping', async () => {
    const { agent, dispatcher } = await peers('0.8');
    await dispatcher.ping(here, agent.port);
    const sent = agent.exchanges[0]?.bytes.toString('latin1').replace(`:${agent.port}`, ':17444');
    expect(sent?.replace(/[0-9a-f]{16}/, '2f6c3e5359bdd157')).toBe(captured('dispatcher-ping.http'));
  });
});

it('a simulated agent that pairs sends what the real one sent, but for nonce and CSR', async () => {
  const { ca, dispatcher } = installation();
  const server = await startLegacyPairing({ version: '0.8', identity: dispatcher, ca });
  const { csr } = await requestLegacyPairing({
    version: '0.8',
    host: here,
    port: server.port,
    root: temporaryDirectory(),
    // As long as the captured one.
    bits: 4096,
  });
  atEnd(() => server.close());
  const sent = server.requests[0]?.toString('latin1') ?? '';
  const real = captured('agent-pair.http');
  const realBody = JSON.parse(parts(real).body);
  const body = JSON.parse(parts(sent).body);
  expect(body.csr).toBe(csr);
  expect(
    sent.replace(body.nonce, realBody.nonce).replace(JSON.stringify(csr), JSON.stringify(realBody.csr)),
  ).toBe(real);
});
