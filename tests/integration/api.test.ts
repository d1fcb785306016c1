import { describe, expect, it } from 'vitest';
import { openDispatcher } from '../../src/apps/library/index.js';
import { apiOver } from '../support/api/api.js';
import { agentOnDisk, atEnd, requestPairing, shared } from '../support/commands/commands.js';
import { pairedFleet } from '../support/fleet/fleet.js';

/** One agent that serves, and the API over it, without a hook. */
const fleet = shared(async () => {
  const web = { name: 'web-01', scripts: { greet: '#!/bin/sh\necho "hello $*"\n' }, serves: true };
  const { control } = await pairedFleet({ web }, 'api_auth_default = allow\n');
  const dispatcher = await openDispatcher({ home: control.home });
  atEnd(() => dispatcher.close());
  return { control, api: await apiOver(dispatcher, { base: '/fleet' }) };
});

describe('over real agents', () => {
  it('results come in one answer, with failures inline', async () => {
    const { api } = fleet();
    const { json } = await api.post('/run', { hosts: ['web-01'], script: 'greet', args: ['a b', '$HOME'] });
    expect(json.results).toMatchObject([{ host: 'web-01', exit: 0, stdout: 'hello a b $HOME\n' }]);
  });

  it('an agent is admitted with its code, and another one is turned away', async () => {
    const { api, control } = fleet();
    const mode = await control.pairingMode();
    const requested = async (name: string) => {
      const agent = await agentOnDisk(name);
      const request = requestPairing(agent, mode.port);
      const id = await request.shows(/Request ([0-9a-f]{8})/);
      const { json } = await api.get('/v1/pairing-requests');
      const found = json.requests.find((each: { id: string }) => each.id.startsWith(id));
      expect(found).toMatchObject({ host: name, state: 'open', code: expect.stringMatching(/^\d{6}$/) });
      return { request, id: found.id, code: found.code };
    };
    const admitted = await requested('web-03');
    const approved = await api.post(`/v1/pairing-requests/${admitted.id}/approve`, {
      code: admitted.code,
      lookup_by: 'ip',
    });
    expect([approved.status, approved.json.request]).toMatchObject([
      200,
      { state: 'approved', name: 'web-03' },
    ]);
    admitted.request.child.stdin?.end('y\n');
    expect((await admitted.request.ended).code).toBe(0);
    expect((await api.get('/v1/agents/web-03')).json.agent).toMatchObject({ lookup_by: 'ip' });
    expect((await api.post(`/v1/pairing-requests/${admitted.id}/approve`)).status).toBe(404);

    const again = await requested('web-03');
    const taken = await api.post(`/v1/pairing-requests/${again.id}/approve`, { code: again.code });
    expect([taken.status, taken.json]).toEqual([
      409,
      {
        ok: false,
        error: 'agent_exists',
        detail: 'web-03 is registered already: approve with replace to give it this new key',
      },
    ]);
    await api.post(`/v1/pairing-requests/${again.id}/deny`);
    again.request.child.stdin?.end('y\n');
    expect((await again.request.ended).code).toBe(3);

    const other = await requested('web-04');
    const code = other.code === '000000' ? '000001' : '000000';
    const wrong = await api.post(`/v1/pairing-requests/${other.id}/approve`, { code });
    expect([wrong.status, wrong.json.error]).toEqual([409, 'codes_differ']);
    other.request.child.stdin?.end('y\n');
    expect((await other.request.ended).code).toBe(3);

    const third = await requested('web-05');
    const denied = await api.post(`/v1/pairing-requests/${third.id}/deny`, { reason: 'not known here' });
    expect(denied.json.request).toMatchObject({ state: 'denied', reason: 'not known here' });
    third.request.child.stdin?.end('y\n');
    expect((await third.request.ended).stderr).toContain('not known here');
    await mode.process.stop();
  });
});
