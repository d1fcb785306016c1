import { expect, it } from 'vitest';
import { askApi, serveApi, setSettings } from '../../support/api/process.js';
import { agentOnDisk, requestPairing } from '../../support/commands/commands.js';
import { eventually, gate, pairedHost } from '../../support/fleet/fleet.js';

const host = pairedHost();

/** Two processes of one home, and an agent that serves. */
async function two(busy = gate(), conf = '') {
  const agent = await host.fresh();
  agent.script('busy', busy.script);
  agent.script('hello', '#!/bin/sh\necho hello\n');
  await agent.serve();
  setSettings(host.control(), `api_auth_default = allow\n${conf}`);
  const { home } = host.control();
  const [one, other] = await Promise.all([serveApi(home), serveApi(home)]);
  const hosts = [`127.0.0.1:${agent.port}`];
  return {
    one,
    other,
    hosts,
    body: (script: string, more: object = {}) => ({ body: { hosts, script, ...more } }),
  };
}

it('a script that one of them runs is locked at the other, and both see the lock', async () => {
  const busy = gate();
  const { one, other, hosts, body } = await two(busy);
  const running = one.ask('/run', body('busy'));
  await busy.started();
  expect(await other.ask('/run', body('busy'))).toMatchObject({
    status: 409,
    json: { ok: false, error: 'locked', code: 4, conflicts: [`${hosts[0]}:busy`] },
  });
  for (const api of [one, other])
    expect((await api.ask('/v1/locks')).json.locks).toMatchObject([{ host: hosts[0], script: 'busy' }]);
  expect((await other.ask('/metrics')).text).toContain('ctrl_exec_locks_held 1\n');
  expect((await other.ask('/run', body('hello'))).json).toMatchObject({ ok: true, results: [{ exit: 0 }] });
  busy.open();
  expect((await running).json).toMatchObject({ ok: true, results: [{ exit: 0 }] });
  expect((await other.ask('/run', body('busy'))).status).toBe(200);
});

it('the status of a run that one of them began is told by the other', async () => {
  const busy = gate();
  const { one, other, body } = await two(busy);
  const sync = await one.ask('/run', body('hello'));
  expect((await other.ask(`/status/${sync.json.reqid}`)).json).toMatchObject({
    ok: true,
    mode: 'sync',
    complete: true,
    results: [{ exit: 0, stdout: 'hello\n' }],
  });
  const submitted = await one.ask('/run', body('busy', { async: true }));
  expect(submitted.status).toBe(202);
  const status = () => other.ask(`/status/${submitted.json.reqid}`);
  expect((await status()).json).toMatchObject({ mode: 'async', complete: false });
  busy.open();
  await eventually(async () => expect((await status()).json).toMatchObject({ complete: true }));
  expect((await one.ask(`/status/${submitted.json.reqid}`)).json).toMatchObject({ complete: true });
});

it('one that is killed leaves its lock while the script runs; after that the other runs it', async () => {
  const busy = gate();
  const { one, other, hosts, body } = await two(busy);
  const lost = one.ask('/run', body('busy')).catch(() => 'lost');
  await busy.started();
  await one.process.stop('SIGKILL');
  expect(await lost).toBe('lost');
  expect((await other.ask('/v1/locks')).json.locks).toMatchObject([{ host: hosts[0], script: 'busy' }]);
  expect((await other.ask('/run', body('busy'))).status).toBe(409);
  busy.open();
  await eventually(async () =>
    expect((await other.ask('/run', body('busy'))).json).toMatchObject({ ok: true, results: [{ exit: 0 }] }),
  );
  expect((await other.ask('/v1/locks')).json.locks).toEqual([]);
});

it('a pairing request is seen by both and approved through either', async () => {
  const { one, other } = await two();
  const mode = await host.control().pairingMode();
  const agent = await agentOnDisk('db-07');
  const request = requestPairing(agent, mode.port, ['--lookup-by', 'ip']);
  const id = await request.shows(/Request ([0-9a-f]{8})/);
  const waiting = await one.ask('/v1/pairing-requests');
  expect(JSON.stringify(waiting.json)).toContain(id);
  expect((await one.ask('/metrics')).text).toContain('ctrl_exec_pairing_requests_waiting 1\n');
  const approved = await other.ask(`/v1/pairing-requests/${id}/approve`, { body: {} });
  expect(approved).toMatchObject({ status: 200, json: { ok: true } });
  request.child.stdin?.end('y\n');
  expect((await request.ended).code).toBe(0);
  await mode.process.stop();
  expect(JSON.stringify((await one.ask('/v1/agents')).json)).toContain('db-07');
});

it('both maintain, one at a time, and neither complains of the other', async () => {
  const { one, other } = await two(gate(), 'cert_check_interval = 1');
  for (const api of [one, other]) await api.process.shows(/(?:ACTION=maintained [\s\S]*?){2}/, 'stderr');
  for (const api of [one, other]) {
    expect(api.process.output('stderr')).not.toContain('maintenance-failed');
    expect((await askApi({ port: api.port }, '/health')).status).toBe(200);
  }
});
