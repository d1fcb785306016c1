import { describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { value } from '../../../contract/result.js';
import { missingForLwp, realLwp, realPerlServer } from '../../../support/legacy/perl.js';
import { capture } from '../../../support/network/raw-tls.js';
import { servers } from '../../adapters/node-tls/channel/servers.js';
import { listeners } from '../../adapters/node-tls/serve.js';
import { here, legacyInstallation, parts } from './shared-installation.js';

const because = missingForLwp === undefined ? '' : ` (skipped: ${missingForLwp})`;
const { serve, identities } = listeners();
const { client, identities: agents } = servers();
const { installation, peers } = legacyInstallation();
const text = (value: string) => Buffer.from(value);

describe.skipIf(missingForLwp !== undefined)(`real LWP asks our listener${because}`, () => {
  const ask = (port: number, path: string, body?: Buffer) =>
    realLwp(identities().dispatcher, identities().ca.pem, `https://${here}:${port}${path}`, body);

  it('with a body, and understands the answer', async () => {
    const { server, handled } = await serve();
    const { line, body } = await ask(server.port, '/run', text('{"args":["é"]}'));
    expect(line).toBe('200 OK');
    expect(JSON.parse(body.toString())).toMatchObject({ path: '/run', body: '{"args":["é"]}' });
    expect(handled[0]?.headers.map(([name]) => name)).toEqual([
      'te',
      'connection',
      'host',
      'user-agent',
      'content-length',
      'content-type',
    ]);
    expect(handled[0]?.headers).toContainEqual(['connection', 'TE, close']);
  });

  it('without a body', async () => {
    const { server } = await serve();
    const { line, body } = await ask(server.port, '/capabilities');
    expect(line).toBe('200 OK');
    expect(JSON.parse(body.toString())).toMatchObject({ path: '/capabilities', body: '' });
  });

  it.each([403, 404, 409])('and is told %i with a reason', async (status) => {
    const { server } = await serve({ handle: async () => jsonAnswer(status, { error: 'why' }) });
    const { line, body } = await ask(server.port, '/run', text('{}'));
    expect(line).toMatch(new RegExp(`^${status} `));
    expect(JSON.parse(body.toString())).toEqual({ error: 'why' });
  });

  it('for more than fits into one TLS record, both ways', async () => {
    const { server } = await serve({
      handle: async (request) => ({
        status: 200,
        headers: [],
        body: value(await request.body()),
      }),
    });
    const sent = Buffer.alloc(60_000, 'xyz');
    expect((await ask(server.port, '/run', sent)).body.equals(sent)).toBe(true);
  });
});

describe.skipIf(missingForLwp !== undefined)(`the simulated dispatcher is as real LWP${because}`, () => {
  it('in every byte that it sends', async () => {
    const { agent, dispatcher } = await peers('0.12');
    const { ca } = installation();
    const url = `https://${here}:${agent.port}`;
    const body = text('{"reqid":"1"}');
    const identity = dispatcher.identity();
    await realLwp(identity, ca.pem, `${url}/ping`, body);
    await dispatcher.ask(here, agent.port, { method: 'POST', path: '/ping', body });
    await realLwp(identity, ca.pem, `${url}/capabilities`);
    await dispatcher.ask(here, agent.port, { method: 'GET', path: '/capabilities' });
    const sent = agent.exchanges.map(({ bytes }) =>
      bytes.toString('latin1').replace(/libwww-perl\/[0-9.]+/, 'libwww-perl'),
    );
    expect(sent).toHaveLength(4);
    expect(sent[1]).toBe(sent[0]);
    expect(sent[3]).toBe(sent[2]);
  });

  it('in what it understands of a simulated agent', async () => {
    const { agent, dispatcher } = await peers('0.8');
    const url = `https://${here}:${agent.port}`;
    const { ca } = installation();
    for (const path of ['/ping', '/none']) {
      const real = await realLwp(dispatcher.identity(), ca.pem, url + path, text('{"reqid":"1"}'));
      const simulated = await dispatcher.ask(here, agent.port, {
        method: 'POST',
        path,
        body: text('{"reqid":"1"}'),
      });
      expect(simulated.line).toBe(real.line);
      expect(simulated.body.equals(real.body)).toBe(true);
    }
  });
});

it.skipIf(missingForLwp !== undefined)(
  `our channel asks a server over IO::Socket::SSL, twice${because}`,
  async () => {
    const { agent, ca } = agents();
    const answer = capture('agent-run-answer.http');
    const server = await realPerlServer(agent, ca.pem, answer);
    const { ask } = client(server.port);
    // The second is a connection of its own: the server closes after each.
    for (const body of ['{"reqid":"1"}', '{"reqid":"2"}']) {
      const received = value(await ask({ body: text(body) }));
      expect(Buffer.from(received.body).toString()).toBe(parts(answer.toString('latin1')).body);
      expect(parts((await server.request()).toString('latin1')).body).toBe(body);
    }
  },
);
