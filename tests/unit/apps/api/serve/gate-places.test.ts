import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { defaultGateLimits, gate } from '../../../../../src/apps/api/serve/gate.js';
import { memoryApi, no } from '../../../../support/api/memory-api.js';
import { eventually } from '../../../../support/fleet/fleet.js';

const metrics = async () => ({ contentType: 'text/plain', text: 'metric 1\n' });

async function limited(most: number, limits: Partial<typeof defaultGateLimits> = {}) {
  return memoryApi('', {
    gate: gate(
      () => most,
      () => 0,
      { ...defaultGateLimits, ...limits },
    ),
    metrics,
  });
}

/** A request whose body never comes, and what is answered to it. */
function unfinished(port: number, line: string) {
  const socket = connect({ port, host: '127.0.0.1' });
  let text = '';
  socket.on('data', (part) => {
    text += part;
  });
  socket.on('error', () => undefined);
  socket.write(`${line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{`);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { socket, closed, soFar: () => text };
}

describe('places', () => {
  it('whoever was not let in keeps nobody out who was', async () => {
    const api = await limited(1, { unadmitted: 12 });
    const some = [1, 2].map(() => unfinished(api.port, 'POST /run'));
    await eventually(async () => expect((await api.get('/health')).status).toBe(200));
    expect((await api.get('/v1/agents')).status).toBe(200);
    const third = unfinished(api.port, 'POST /run');
    await eventually(async () => {
      const refused = await api.open('GET', '/v1/agents').answer;
      expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1']);
    });
    for (const { socket } of [...some, third]) socket.destroy();
    await eventually(async () => expect((await api.open('GET', '/v1/agents').answer).status).toBe(200));
  });

  it('a body that does not come in time is 408, and its place is free', async () => {
    const api = await limited(1, { unadmitted: 4, body: 50 });
    const slow = unfinished(api.port, 'POST /run');
    await slow.closed;
    expect(slow.soFar()).toMatch(/^HTTP\/1\.1 408 /);
    expect(slow.soFar().toLowerCase()).toContain('connection: close');
    expect((await api.get('/v1/agents')).status).toBe(200);
  });

  it('the body of a scrape is not read, credentials are in its header', async () => {
    const api = await limited(1);
    api.policy.decide = ({ token }) => (token === 'right' ? { kind: 'exited', code: 0 } : no(2));
    const inBody = await api.ask('GET', '/metrics', { body: { token: 'right' } });
    expect(inBody.status).toBe(403);
    expect((await api.get('/metrics', { authorization: 'Bearer right' })).status).toBe(200);
    const never = unfinished(api.port, 'GET /metrics');
    await eventually(() => expect(never.soFar()).toContain(' 403 '));
    never.socket.destroy();
  });

  it('a scrape that was answered gives its place back, one that was refused as well', async () => {
    const api = await limited(1, { metrics: 1 });
    for (let each = 0; each < 3; each += 1) expect((await api.get('/metrics')).status).toBe(200);
    api.policy.decide = () => no();
    for (let each = 0; each < 3; each += 1) expect((await api.get('/metrics')).status).toBe(403);
  });
});
